import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import type { Link } from '../../../shared/link/link.ts';
import { keepLinked } from '../../../shared/link/reconnect.ts';
import { silentLogger } from '../../../shared/logger.ts';
import type { Dialer } from '../../../shared/transport/transport.ts';

it('a link that comes up in the moment of the stop is ended, and nobody waits for it', async () => {
  const stop = new AbortController();
  let closed = 0;
  const link = { close: () => closed++ } as unknown as Link;
  const dialer = { url: 'unix:///x', dial: async () => new PassThrough() } as unknown as Dialer;
  await keepLinked({
    dialer,
    establish: async () => {
      stop.abort(); // everybody has closed what there was by then
      return link;
    },
    serve: () => new Promise(() => {}),
    log: silentLogger(),
    signal: stop.signal,
  });
  expect(closed).toBe(1);
});
