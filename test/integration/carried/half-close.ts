import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { halfCloseEcho } from '../../helpers/half-close-echo.ts';
import { httpHello } from '../../helpers/http-hello.ts';
import { loopback, unixSpec } from '../../helpers/processes.ts';
import { connectTo, fateOf, readAll } from '../../helpers/stream-client.ts';
import { type StreamServer, serveStreams } from '../../helpers/stream-server.ts';
import type { Carrier } from './carrier.ts';

/** More than any buffer on the way takes at once. */
const MESSAGE = randomBytes(3_000_017);

export function halfCloses(carrier: Carrier): void {
  const containers: StreamServer[] = [];

  afterAll(async () => {
    await Promise.all(containers.map((container) => container.close()));
  });

  const track = (container: StreamServer): StreamServer => {
    containers.push(container);
    return container;
  };

  /** Publishes a container and answers where its clients connect. */
  const publish = async (
    kind: 'tcp' | 'unix',
    name: string,
    make: (where: number | string) => Promise<StreamServer>,
  ): Promise<{ spec: string; where: number | string }> => {
    if (kind === 'tcp') {
      const { spec, port } = await carrier.pair.expose(loopback('tcp', track(await make(0)).port));
      return { spec, where: port };
    }
    const vmPath = join(carrier.pair.dir, `${name}-vm.sock`);
    const where = join(carrier.pair.dir, `${name}.sock`);
    track(await make(vmPath));
    const { spec } = await carrier.pair.expose(unixSpec(where, vmPath));
    return { spec, where };
  };

  describe.each(['tcp', 'unix'] as const)('%s', (kind) => {
    it('the client ends first and still gets the whole answer', async () => {
      const { spec, where } = await publish(kind, 'client-first', halfCloseEcho);
      const client = await connectTo(where);
      client.end(MESSAGE);
      expect((await readAll(client)).equals(MESSAGE)).toBe(true);
      await carrier.pair.quiet(spec);
      expect((await carrier.pair.stats(spec)).resets).toBe(0);
    });

    it('a client that ends without a byte is answered', async () => {
      const { where } = await publish(kind, 'nothing', (at) =>
        serveStreams((socket) => {
          socket.resume();
          socket.on('end', () => socket.end('you said nothing'));
        }, at),
      );
      const client = await connectTo(where);
      client.end();
      expect((await readAll(client)).toString()).toBe('you said nothing');
    });

    it('the container ends first and still gets everything that the client sends', async () => {
      let received: Promise<Buffer> | undefined;
      const { spec, where } = await publish(kind, 'container-first', (at) =>
        serveStreams((socket) => {
          received = readAll(socket);
          socket.end('greeting');
        }, at),
      );
      const client = await connectTo(where);
      expect((await readAll(client)).toString()).toBe('greeting');
      client.end(MESSAGE);
      expect((await received!).equals(MESSAGE)).toBe(true);
      await carrier.pair.quiet(spec);
      expect((await carrier.pair.stats(spec)).resets).toBe(0);
    });

    it('a connection that is half-closed stays open until the other half ends', async () => {
      let finish: (() => void) | undefined;
      const { spec, where } = await publish(kind, 'stays', (at) =>
        serveStreams((socket) => {
          socket.resume();
          socket.on('end', () => {
            socket.write('first');
            finish = () => socket.end('last');
          });
        }, at),
      );
      const client = await connectTo(where);
      client.end('question');
      const [first] = (await new Promise<[Buffer]>((resolve) =>
        client.once('data', (chunk: Buffer) => resolve([chunk])),
      )) as [Buffer];
      expect(first.toString()).toBe('first');
      expect((await carrier.pair.stats(spec)).active).toBe(1);
      const rest = fateOf(client);
      finish!();
      expect(await rest).toEqual({ how: 'end', bytes: 4 });
      await carrier.pair.quiet(spec);
    });
  });

  it('an HTTP server is answered over connections that it and its clients close', async () => {
    const server = await httpHello();
    try {
      const { port } = await carrier.pair.expose(loopback('tcp', server.port));
      const answers = await Promise.all(
        Array.from({ length: 20 }, async (_, i) => {
          const response = await fetch(`http://127.0.0.1:${port}/page/${i}`, {
            headers: i % 2 === 0 ? { connection: 'close' } : {},
          });
          return response.text();
        }),
      );
      expect(answers).toEqual(Array.from({ length: 20 }, (_, i) => `GET /page/${i}`));
    } finally {
      await server.close();
    }
  });
}
