/**
 * The HTTP API on a unix socket, a thin adapter on the forward table: GET, POST and DELETE of /v1/forwards.
 * Bodies and answers are JSON; an error is `{code, message}`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { BridgeError, type ErrorCode, messageOf } from '../../shared/errors.ts';
import { Limit } from '../../shared/limit.ts';
import type { Logger } from '../../shared/logger.ts';
import { readJson } from '../../shared/read-json.ts';
import type { TransportAddress } from '../../shared/transport/address.ts';
import { listen } from '../../shared/transport/listen.ts';
import { readApiRequest } from './api-request.ts';
import { type ForwardSpec, formatForward, parseForward } from './forward-spec.ts';
import type { Claim, ForwardTable } from './forward-table.ts';
import type { FailedForward, PermanentForwards } from './permanent-forwards.ts';
import { OWNER } from './permanent-forwards.ts';

const MAX_BODY_BYTES = 64 * 1024;
const MAX_CONNECTIONS = 128;
/** A connection that is silent for so long is closed, milliseconds. */
const IDLE_MS = 30_000;

/** A forward as the API shows it. */
export interface ForwardView {
  readonly spec: string;
  readonly vm: string;
  readonly owner: string;
  readonly since: string;
  /** How it waits for its container, where it does; `failed`: it is kept and tried again. */
  readonly state?: string;
  /** Why it is not published now. */
  readonly error?: { readonly code: ErrorCode; readonly message: string };
  readonly stats: Record<string, number>;
}

export interface VmView {
  readonly name: string;
  readonly up: boolean;
  readonly lane: string | undefined;
  /** How long the shim took to answer when it was asked last. */
  readonly rttMs: number | undefined;
  /** Whether the VM has to prove that it has a token. */
  readonly token: boolean;
  /** Peers that did not, ever. */
  readonly authFailures: number;
}

export interface ApiOptions {
  readonly table: ForwardTable;
  readonly permanent: PermanentForwards;
  readonly vms: () => VmView[];
  readonly log: Logger;
}

const STATUS: Partial<Record<ErrorCode, number>> = {
  BAD_SPEC: 400,
  BAD_REQUEST: 400,
  PERMISSION_DENIED: 403,
  POLICY_DENIED: 403,
  NOT_FOUND: 404,
  PORT_IN_USE: 409,
  ADDRESS_NOT_AVAILABLE: 409,
  LIMIT_REACHED: 429,
};

/** Serves the API. @returns what closes it. @throws BridgeError as listening does */
export async function serveApi(address: TransportAddress, options: ApiOptions): Promise<() => Promise<void>> {
  const server = createServer((request, response) => {
    answer(request, options).then(
      ({ status, body }) => send(response, status, body),
      (error) => {
        const code: ErrorCode = error instanceof BridgeError ? error.code : 'IO';
        if (code === 'IO') options.log.error({ err: error }, 'API request failed');
        // What is left of a body that is too large is not waited for.
        if (!request.complete) response.setHeader('connection', 'close');
        send(response, STATUS[code] ?? 500, { code, message: messageOf(error) });
      },
    );
  });
  // Node's HTTP server takes sockets that somebody else accepted by its `connection` event (node:http), but then
  // neither times them out nor closes them: both are done here.
  const streams = new Set<Socket>();
  const limit = new Limit('connections of the API', MAX_CONNECTIONS, options.log);
  const serve = (stream: Socket): void => {
    stream.on('error', () => {}); // the client has gone
    if (!limit.take()) {
      stream.destroy();
      return;
    }
    streams.add(stream);
    stream.on('close', () => {
      streams.delete(stream);
      limit.give();
    });
    stream.setTimeout(IDLE_MS, () => stream.destroy());
    server.emit('connection', stream);
    stream.resume();
  };
  const listener = await listen(address, 'host', serve, options.log);
  return async () => {
    await listener.close();
    for (const stream of streams) stream.destroy();
  };
}

async function answer(
  request: IncomingMessage,
  { table, permanent, vms }: ApiOptions,
): Promise<{ status: number; body: unknown }> {
  const path = request.url?.split('?')[0];
  if (path !== '/v1/forwards')
    throw new BridgeError('NOT_FOUND', `no such resource ${path}; there is /v1/forwards`);
  if (request.method === 'GET') {
    const forwards = [...table.list().map(view), ...permanent.failed().map(failedView)];
    return { status: 200, body: { forwards, vms: vms() } };
  }
  if (request.method !== 'POST' && request.method !== 'DELETE')
    throw new BridgeError('BAD_REQUEST', `method ${request.method}; /v1/forwards knows GET, POST and DELETE`);
  const body = await readJson(request, MAX_BODY_BYTES);
  const { spec: wanted, vm, now } = readApiRequest(request.method, body);
  const spec = readSpec(wanted, request.method === 'DELETE' ? permanent.failed() : []);
  const names = vms().map(({ name }) => name);
  if (vm !== undefined && !names.includes(vm))
    throw new BridgeError('NOT_FOUND', `no VM "${vm}"; there is ${names.join(', ')}`);
  if (request.method === 'POST') {
    if (vm === undefined && names.length > 1)
      throw new BridgeError('BAD_REQUEST', `which VM? there is ${names.join(', ')}; say --vm NAME`);
    const claim = await permanent.expose(vm ?? names[0]!, spec!);
    return { status: 201, body: view(claim) };
  }
  const claims = spec === undefined ? [] : table.find(spec, vm);
  const failed = await permanent.forget(claims, spec === undefined ? wanted : formatForward(spec), vm);
  const removed = [...claims.map(view), ...failed.map(failedView)];
  if (removed.length === 0) throw new BridgeError('NOT_FOUND', `${wanted} is not exposed`);
  await Promise.all(claims.map((claim) => table.release(claim, { now })));
  return { status: 200, body: { forwards: removed } };
}

/** @param kept what is unreadable here, and was kept by a later version, has to be removable: undefined then */
function readSpec(text: string, kept: readonly FailedForward[]): ForwardSpec | undefined {
  try {
    return parseForward(text);
  } catch (error) {
    if (kept.some(({ spec }) => spec === text)) return undefined;
    throw error;
  }
}

function view(claim: Claim): ForwardView {
  const { vm, owner } = claim;
  const state = claim.state();
  return {
    spec: formatForward(claim.spec),
    vm,
    owner,
    since: claim.since.toISOString(),
    ...(state === undefined ? {} : { state }),
    stats: claim.stats(),
  };
}

function failedView({ spec, vm, since, code, message }: FailedForward): ForwardView {
  const error = { code, message };
  return { spec, vm, owner: OWNER, since: since.toISOString(), state: 'failed', error, stats: {} };
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}
