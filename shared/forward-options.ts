import { refuse } from './port-spec-cursor.ts';

/**
 * The options of one forward, written behind its spec in every notation:
 * `tcp:127.0.0.1:8080:tcp:172.17.0.2:80?idle-timeout=600&wait=listening`.
 */
export interface ForwardOptions {
  /** Seconds without a byte (UDP: a datagram of the flow) in either direction after which it is over. */
  readonly idleTimeout?: number;
  /** Seconds of silence after which TCP asks whether the other side is still there. */
  readonly keepalive?: number;
  /** The version of the PROXY protocol by which the container is told who the client is. */
  readonly proxyProtocol?: 'v1' | 'v2';
  /** The host port refuses clients while the container's port is closed. */
  readonly wait?: 'listening';
}

type Protocol = 'tcp' | 'udp' | 'unix';

interface Option {
  readonly field: keyof ForwardOptions;
  readonly protocols: readonly Protocol[];
  /** What may stand behind the `=`, for people. */
  readonly values: string;
  /** @returns undefined when the text is no value */
  read(text: string): number | string | undefined;
}

/** 7 days. */
const MAX_IDLE_SECONDS = 604_800;
/** What TCP_KEEPIDLE of Linux takes (MAX_TCP_KEEPIDLE). */
const MAX_KEEPALIVE_SECONDS = 32_767;

/** In the order in which they are written. */
const OPTIONS: Readonly<Record<string, Option>> = {
  'idle-timeout': seconds('idleTimeout', ['tcp', 'udp', 'unix'], MAX_IDLE_SECONDS),
  keepalive: seconds('keepalive', ['tcp'], MAX_KEEPALIVE_SECONDS),
  'proxy-protocol': oneOf('proxyProtocol', ['tcp', 'unix'], ['v1', 'v2']),
  wait: oneOf('wait', ['tcp'], ['listening']),
};

/** Where the options of a spec begin, the `?` included; its length when it has none. */
export function optionsStart(text: string): number {
  const mark = text.indexOf('?');
  return mark < 0 ? text.length : mark;
}

/**
 * Reads what stands behind the spec.
 * @param start where the `?` is, or the length of the text
 * @returns undefined when there are no options
 * @throws BridgeError BAD_SPEC with the 0-based position: an unknown key, a bad value, a key that is there twice or is
 *   not for this protocol
 */
export function parseOptions(text: string, start: number, protocol: Protocol): ForwardOptions | undefined {
  if (start >= text.length) return undefined;
  const found = new Map<keyof ForwardOptions, number | string>();
  let position = start + 1;
  for (const pair of text.slice(position).split('&')) {
    const equals = pair.indexOf('=');
    if (equals <= 0) refuse(text, position, 'expected an option, key=value');
    const key = pair.slice(0, equals);
    const option = Object.hasOwn(OPTIONS, key) ? OPTIONS[key]! : undefined;
    if (option === undefined)
      refuse(
        text,
        position,
        `unknown option ${key.slice(0, 32)} (known: ${Object.keys(OPTIONS).join(', ')})`,
      );
    if (!option.protocols.includes(protocol))
      refuse(text, position, `option ${key} is not for ${protocol} (only ${option.protocols.join(', ')})`);
    if (found.has(option.field)) refuse(text, position, `option ${key} is there twice`);
    const value = option.read(pair.slice(equals + 1));
    if (value === undefined) refuse(text, position + equals + 1, `${key} must be ${option.values}`);
    found.set(option.field, value);
    position += pair.length + 1;
  }
  return Object.fromEntries(found);
}

/** What stands behind the spec: empty, or `?` and the options in one fixed order. */
export function formatOptions(options: ForwardOptions | undefined): string {
  if (options === undefined) return '';
  const pairs = Object.entries(OPTIONS).flatMap(([key, { field }]) =>
    options[field] === undefined ? [] : [`${key}=${options[field]}`],
  );
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
}

function seconds(field: keyof ForwardOptions, protocols: readonly Protocol[], max: number): Option {
  return {
    field,
    protocols,
    values: `a whole number of seconds from 1 to ${max}`,
    read: (text) => (/^[1-9][0-9]{0,6}$/.test(text) && Number(text) <= max ? Number(text) : undefined),
  };
}

function oneOf(
  field: keyof ForwardOptions,
  protocols: readonly Protocol[],
  values: readonly string[],
): Option {
  return {
    field,
    protocols,
    values: values.join(' or '),
    read: (text) => (values.includes(text) ? text : undefined),
  };
}
