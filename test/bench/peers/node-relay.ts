/** `node-relay.js FROM TO`: passes each connection on. Either is a port of 127.0.0.1 or the path of a unix socket. */
import { connect, createServer, type Socket } from 'node:net';

const [from = '', to = ''] = process.argv.slice(2);

function endpoint(text: string): { host: string; port: number } | { path: string } {
  return /^\d+$/.test(text) ? { host: '127.0.0.1', port: Number(text) } : { path: text };
}

function join(client: Socket): void {
  const target = connect({ ...endpoint(to), allowHalfOpen: true, noDelay: true });
  client.pipe(target);
  target.pipe(client);
  client.on('error', () => target.destroy());
  target.on('error', () => client.destroy());
}

createServer({ allowHalfOpen: true, noDelay: true }, join).listen({ ...endpoint(from), backlog: 4096 });
