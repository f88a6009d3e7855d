import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { beforeAll, describe, expect, it } from 'vitest';
import { ERRNO } from '../../../../shared/errors.ts';
import { SharedCounters } from '../../../../shared/link/shared-counters.ts';
import { type Libc, loadLibc } from '../../../../shared/platform/linux/libc.ts';
import { MainSockets } from '../../../../shared/platform/linux/mux/main-sockets.ts';
import { engines } from '../../../helpers/engines.ts';
import { fateOf } from '../../../helpers/stream-client.ts';

const TARGET = {
  destination: { protocol: 'tcp', ip: '127.0.0.1', port: 1 },
  details: {},
  where: '',
} as const;

describe.skipIf(!engines.includes('linux'))('a client that no worker gets', () => {
  let libc: Libc;

  beforeAll(async () => {
    libc = await loadLibc();
  });

  const full = (): Libc =>
    Object.create(libc, { fcntl: { value: () => -1 }, errno: { value: () => ERRNO.EMFILE } }) as Libc;

  it.each<[string, () => Libc, string]>([
    ['as no descriptor is left', full, 'EMFILE'],
    ['as its worker has ended', () => libc, 'the link is down'],
  ])('%s is reset, and not ended', async (_name, libcOf, why) => {
    const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect((server.address() as { port: number }).port, '127.0.0.1');
    const [socket] = (await once(server, 'connection')) as [Socket];
    server.close();
    const fate = fateOf(client);
    const sockets = new MainSockets(libcOf(), 1, { post() {}, give: () => false });
    const error = await new Promise((closed) =>
      sockets.connect(socket, TARGET, { counters: new SharedCounters(), closed }),
    );
    expect(String(error)).toContain(why);
    expect((await fate).how).toBe('ECONNRESET');
  });
});
