/**
 * gvproxy's port forwarding API, which podman in a VM calls at http://gateway.containers.internal. Answers are those of
 * gvproxy: 200 without a body, else a line of text, which podman shows to people.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { BridgeError, type ErrorCode, messageOf, nodeErrno } from '../../shared/errors.ts';
import { formatEndpoint } from '../../shared/ip.ts';
import { Limit } from '../../shared/limit.ts';
import type { Logger } from '../../shared/logger.ts';
import type { PortDoor } from '../../shared/portfs/door.ts';
import { readJson } from '../../shared/read-json.ts';
import type { Scope } from '../../shared/scope.ts';
import { GatewayForwards } from './gateway-forwards.ts';

const MAX_BODY_BYTES = 16 * 1024;
const MAX_CONNECTIONS = 128;
/** A request has to be there in this time, and a connection may idle for as long, milliseconds. */
const IDLE_MS = 10_000;
const PREFIX = '/services/forwarder/';

/** As gvproxy has it: what is wrong with the request is 400 (404: with its path), what became of it is 500. */
const STATUS: Partial<Record<ErrorCode, number>> = { BAD_REQUEST: 400, BAD_SPEC: 400, UNSUPPORTED: 404 };

/**
 * Serves it until the scope closes.
 * @returns the port that it listens on
 * @throws BridgeError PORT_IN_USE, ADDRESS_NOT_AVAILABLE, PERMISSION_DENIED or IO, naming the address
 */
export async function serveGatewayApi(
  address: { readonly host: string; readonly port: number },
  door: PortDoor,
  log: Logger,
  scope: Scope,
): Promise<number> {
  const forwards = new GatewayForwards(door, scope.signal);
  const server = createServer((request, response) => {
    const { url } = request;
    const caller = request.socket.remoteAddress ?? '';
    answer(request, caller, forwards).then(
      (body) => send(response, 200, body),
      (error: unknown) => {
        const code = error instanceof BridgeError ? error.code : 'IO';
        log.warn({ url, code, caller }, `refused: ${messageOf(error)}`);
        // What is left of a body that is too large is not waited for.
        if (!request.complete) response.setHeader('connection', 'close');
        send(response, STATUS[code] ?? 500, `${messageOf(error)}\n`);
      },
    );
  });
  const limit = new Limit('connections of the gateway API', MAX_CONNECTIONS, log);
  server.on('connection', (socket: Socket) => {
    if (!limit.take()) return void socket.destroy();
    socket.on('close', () => limit.give());
  });
  server.headersTimeout = server.requestTimeout = server.keepAliveTimeout = IDLE_MS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(listenError(address, error)));
    server.listen(address, resolve);
  });
  scope.defer(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  const { port } = server.address() as { port: number };
  const at = formatEndpoint(address.host, port);
  log.warn(
    { at },
    'the gateway API is served: whoever in the VM reaches it, containers too, can open host ports',
  );
  return port;
}

async function answer(request: IncomingMessage, caller: string, forwards: GatewayForwards): Promise<string> {
  const path = request.url?.split('?')[0] ?? '';
  const action = path.startsWith(PREFIX) ? path.slice(PREFIX.length) : '';
  if (action === 'all') return `${JSON.stringify(forwards.list())}\n`;
  if (action !== 'expose' && action !== 'unexpose')
    throw new BridgeError('UNSUPPORTED', `no such resource ${path}`);
  if (request.method !== 'POST') throw new BridgeError('BAD_REQUEST', 'post only');
  const body = await readJson(request, MAX_BODY_BYTES);
  if (action === 'expose') await forwards.expose(body, caller);
  else await forwards.unexpose(body);
  return '';
}

function send(response: ServerResponse, status: number, body: string): void {
  const type = status === 200 ? 'application/json' : 'text/plain; charset=utf-8';
  const length = { 'content-length': Buffer.byteLength(body) };
  response.writeHead(status, body === '' ? length : { ...length, 'content-type': type });
  response.end(body);
}

function listenError({ host, port }: { host: string; port: number }, error: Error): BridgeError {
  const at = `cannot listen on ${formatEndpoint(host, port)}`;
  switch (nodeErrno(error)) {
    case 'EADDRNOTAVAIL':
      return new BridgeError(
        'ADDRESS_NOT_AVAILABLE',
        `${at}: the VM does not have this address; give it one: ip address add ${host} dev lo`,
        { cause: error },
      );
    case 'EADDRINUSE':
      return new BridgeError('PORT_IN_USE', `${at}: another process does`, { cause: error });
    case 'EACCES':
      return new BridgeError('PERMISSION_DENIED', `${at}: ports below 1024 take root`, { cause: error });
    default:
      return new BridgeError('IO', `${at}: ${messageOf(error)}`, { cause: error });
  }
}
