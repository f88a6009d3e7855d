/** The body of a request to the API. What it says is taken as it stands or refused: a key that is mistyped is not skipped. */
import { BridgeError } from '../../shared/errors.ts';
import { nearest } from '../../shared/settings/nearest.ts';

/** A body of POST or DELETE. */
export interface ApiRequest {
  readonly spec: string;
  readonly vm: string | undefined;
  /** Of DELETE: also ends the connections that run. */
  readonly now: boolean;
}

/** Most characters of what a client sent that are repeated to it. */
const MAX_SHOWN = 60;
const KEYS = { POST: ['spec', 'vm'], DELETE: ['spec', 'vm', 'now'] } as const;

/** @param value the body, as JSON had it. @throws BridgeError BAD_REQUEST, which names the key and what it should be */
export function readApiRequest(method: keyof typeof KEYS, value: unknown): ApiRequest {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new BridgeError('BAD_REQUEST', 'the body is not a JSON object');
  const body = new Map<string, unknown>(Object.entries(value));
  const known: readonly string[] = KEYS[method];
  const unknown = [...body.keys()].find((key) => !known.includes(key));
  if (unknown !== undefined) throw unknownKey(unknown, method, known);
  const spec = text(body, 'spec');
  if (spec === undefined)
    throw new BridgeError(
      'BAD_REQUEST',
      '"spec" is missing: {"spec": "tcp:127.0.0.1:8080:tcp:127.0.0.1:80"}',
    );
  const now = body.has('now') ? body.get('now') : false;
  if (typeof now !== 'boolean') throw wrongType('now', 'true or false', now);
  return { spec, vm: text(body, 'vm'), now };
}

function text(body: ReadonlyMap<string, unknown>, key: string): string | undefined {
  const value = body.get(key);
  if (value === undefined || typeof value === 'string') return value;
  throw wrongType(key, 'a string', value);
}

function wrongType(key: string, expected: string, value: unknown): BridgeError {
  return new BridgeError('BAD_REQUEST', `"${key}" has to be ${expected}, not ${short(value)}`);
}

function unknownKey(key: string, method: string, known: readonly string[]): BridgeError {
  const near = nearest(key.slice(0, MAX_SHOWN), known);
  const hint = near === undefined ? '' : `; did you mean "${near}"?`;
  const names = known.map((name) => `"${name}"`).join(', ');
  return new BridgeError('BAD_REQUEST', `${method} knows no key ${short(key)}, only ${names}${hint}`);
}

function short(value: unknown): string {
  const json = JSON.stringify(value);
  return json.length > MAX_SHOWN ? `${json.slice(0, MAX_SHOWN)}…` : json;
}
