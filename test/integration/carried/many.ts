import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ForwardList } from '../../helpers/api.ts';
import { loopback, runPortferry, until } from '../../helpers/processes.ts';
import { connectTo, readExactly } from '../../helpers/stream-client.ts';
import type { StreamServer } from '../../helpers/stream-server.ts';
import { tcpEcho } from '../../helpers/tcp-echo.ts';
import type { Carrier } from './carrier.ts';

const COUNT = 500;

export function manyAtOnce(carrier: Carrier): void {
  let container: StreamServer;

  beforeAll(async () => {
    container = await tcpEcho();
  });

  afterAll(async () => {
    await container?.close();
  });

  it('500 connections at once each get their own answer', async () => {
    const { spec, port } = await carrier.pair.expose(loopback('tcp', container.port));
    const messages = Array.from({ length: COUNT }, (_, i) => `client ${i} `.padEnd(200 + i, `${i};`));
    const clients = await Promise.all(messages.map(() => connectTo(port)));
    await until('all to be connected', () => container.sockets.size === COUNT);
    expect((await carrier.pair.stats(spec)).active).toBe(COUNT);

    const answers = await Promise.all(
      clients.map(async (client, i) => {
        client.write(messages[i]!);
        return (await readExactly(client, messages[i]!.length)).toString();
      }),
    );
    expect(answers).toEqual(messages);

    for (const client of clients) client.end();
    await carrier.pair.quiet(spec);
    const { code, stdout } = await runPortferry('list', '--json', '--api', carrier.pair.api);
    expect(code).toBe(0);
    const total = messages.reduce((sum, message) => sum + message.length, 0);
    const { forwards } = JSON.parse(stdout) as ForwardList;
    expect(forwards.find((forward) => forward.spec === spec)?.stats).toMatchObject({
      connections: COUNT,
      active: 0,
      bytes_up: total,
      bytes_down: total,
      dial_failures: 0,
      resets: 0,
    });
    await until('the container to be left alone', () => container.sockets.size === 0);
  });
}
