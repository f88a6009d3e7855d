/**
 * Stand-in containers, in one process of the VM's side: `containers.js FOLDER`. Prints a line of JSON with their ports.
 * What they have seen is told on a unix socket in the folder, which is reached from every network namespace.
 */
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer as createNetServer } from 'node:net';
import { join } from 'node:path';
import { halfCloseEcho } from '../../helpers/half-close-echo.ts';
import { resettingServer } from '../../helpers/resetting-server.ts';
import { fateOf, readAll } from '../../helpers/stream-client.ts';
import { serveStreams } from '../../helpers/stream-server.ts';

export interface Containers {
  readonly echo: number;
  /** Answers what it got, once its client has half-closed. */
  readonly patient: number;
  /** Ends first; what its client still says is `heard`. */
  readonly leaving: number;
  readonly resetting: number;
  /** Says `ready`; how its client leaves it is a fate. */
  readonly watching: number;
  /** Answers the SHA-256 of what it got. */
  readonly digesting: number;
  readonly udpEcho: number;
  /** A port that nobody listens on. */
  readonly nobody: number;
  readonly unixEcho: string;
}

export interface Seen {
  readonly heard: readonly string[];
  readonly fates: readonly string[];
}

const folder = process.argv[2]!;
const seen = { heard: [] as string[], fates: [] as string[] };

const echo = await serveStreams((socket) => void socket.pipe(socket));
const patient = await halfCloseEcho();
const leaving = await serveStreams((socket) => {
  socket.end('bye');
  readAll(socket).then(
    (bytes) => seen.heard.push(bytes.toString()),
    (error: Error) => seen.heard.push(error.message),
  );
});
const resetting = await resettingServer('hello');
const watching = await serveStreams((socket) => {
  socket.write('ready');
  void fateOf(socket).then(({ how }) => seen.fates.push(how));
});
const digesting = await serveStreams((socket) => {
  const hash = createHash('sha256');
  socket.on('data', (chunk: Buffer) => hash.update(chunk));
  socket.on('end', () => socket.end(hash.digest('hex')));
});
const udp = createSocket('udp4');
udp.on('message', (payload, peer) => udp.send(payload, peer.port, peer.address));
udp.bind(0, '127.0.0.1');
await once(udp, 'listening');
const unixEcho = join(folder, 'container.sock');
await halfCloseEcho(unixEcho);
await serveStreams((socket) => void socket.end(JSON.stringify(seen)), join(folder, 'seen.sock'));
const gone = createNetServer().listen(0, '127.0.0.1');
await once(gone, 'listening');
const { port: nobody } = gone.address() as { port: number };
gone.close();

const containers: Containers = {
  echo: echo.port,
  patient: patient.port,
  leaving: leaving.port,
  resetting: resetting.port,
  watching: watching.port,
  digesting: digesting.port,
  udpEcho: udp.address().port,
  nobody,
  unixEcho,
};
console.log(JSON.stringify(containers));
