/**
 * The one error type that crosses a module boundary. Everything matches on `code`, never on text.
 * `errno` is the Linux errno number that says the same on a wire (9P2000.u/.L, dial results, resets).
 */

/** Linux errno numbers that travel on our wires, whatever system we run on (errno(3), asm-generic). */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  EFBIG: 27,
  ENOSPC: 28,
  EPIPE: 32,
  ENAMETOOLONG: 36,
  ENOTEMPTY: 39,
  ENODATA: 61,
  EPROTO: 71,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETUNREACH: 101,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOBUFS: 105,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
  ECANCELED: 125,
} as const;

export type ErrnoName = keyof typeof ERRNO;

const NAME_BY_NUMBER = new Map<number, ErrnoName>(
  Object.entries(ERRNO).map(([name, number]) => [number, name as ErrnoName]),
);

/** What went wrong, stable across releases. docs/troubleshooting.md says what to do about each. */
export type ErrorCode =
  | 'BAD_SPEC'
  | 'BAD_REQUEST'
  | 'PORT_IN_USE'
  | 'ADDRESS_NOT_AVAILABLE'
  | 'PERMISSION_DENIED'
  | 'POLICY_DENIED'
  | 'AUTH_FAILED'
  | 'REFUSED'
  | 'LIMIT_REACHED'
  | 'ALREADY_EXISTS'
  | 'NOT_FOUND'
  | 'STATE_IN_USE'
  | 'NO_LINK'
  | 'LINK_LOST'
  | 'DIAL_REFUSED'
  | 'DIAL_TIMEOUT'
  | 'DIAL_FAILED'
  | 'RESET'
  | 'PROTOCOL'
  | 'UNSUPPORTED'
  | 'TIMEOUT'
  | 'CANCELLED'
  | 'IO';

const DEFAULT_ERRNO: Record<ErrorCode, ErrnoName> = {
  BAD_SPEC: 'EINVAL',
  BAD_REQUEST: 'EINVAL',
  PORT_IN_USE: 'EADDRINUSE',
  ADDRESS_NOT_AVAILABLE: 'EADDRNOTAVAIL',
  PERMISSION_DENIED: 'EACCES',
  POLICY_DENIED: 'EPERM',
  AUTH_FAILED: 'EACCES',
  REFUSED: 'EPERM',
  LIMIT_REACHED: 'ENOBUFS',
  ALREADY_EXISTS: 'EEXIST',
  NOT_FOUND: 'ENOENT',
  STATE_IN_USE: 'EBUSY',
  NO_LINK: 'ENETUNREACH',
  LINK_LOST: 'ECONNABORTED',
  DIAL_REFUSED: 'ECONNREFUSED',
  DIAL_TIMEOUT: 'ETIMEDOUT',
  DIAL_FAILED: 'EHOSTUNREACH',
  RESET: 'ECONNRESET',
  PROTOCOL: 'EPROTO',
  UNSUPPORTED: 'EOPNOTSUPP',
  TIMEOUT: 'ETIMEDOUT',
  CANCELLED: 'ECANCELED',
  IO: 'EIO',
};

/** All codes, in the order of docs/troubleshooting.md. */
export const ERROR_CODES = Object.keys(DEFAULT_ERRNO) as readonly ErrorCode[];

/** Whether a text from a wire is one of our codes. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(DEFAULT_ERRNO, text);
}

/** A port of the host, or the path of a socket there, that an error is about. */
export type HostPlace =
  | { readonly protocol: 'tcp' | 'udp'; readonly ip: string; readonly port: number }
  | { readonly protocol: 'unix'; readonly path: string };

export class BridgeError extends Error {
  override readonly name = 'BridgeError';
  readonly code: ErrorCode;
  /** Linux errno number for wires. */
  readonly errno: number;
  /** What could not be had, for whoever wants to find out why. */
  readonly place: HostPlace | undefined;

  /**
   * @param code stable code
   * @param message for people: what was tried, on which address, why it failed, what to do
   * @param options `errno` overrides the number that belongs to the code; `cause` keeps the original; `place` is what could not be had
   */
  constructor(
    code: ErrorCode,
    message: string,
    options: { errno?: ErrnoName | number; cause?: unknown; place?: HostPlace | undefined } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.place = options.place;
    const errno = options.errno ?? DEFAULT_ERRNO[code];
    this.errno = typeof errno === 'number' ? errno : ERRNO[errno];
  }
}

/** Name of a Linux errno number, or `errno 4711` for one that we do not list. */
export function errnoName(number: number): string {
  return NAME_BY_NUMBER.get(number) ?? `errno ${number}`;
}

/** The errno name that Node put on an error (`error.code`), or undefined. */
export function nodeErrno(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** The Linux errno number of anything thrown; EIO when it carries none that we know. */
export function errnoNumber(error: unknown): number {
  if (error instanceof BridgeError) return error.errno;
  const name = nodeErrno(error);
  return name !== undefined && name in ERRNO ? ERRNO[name as ErrnoName] : ERRNO.EIO;
}

/** The message with its code in brackets behind it: how errors read where there is nothing but text. */
export function textWithCode(error: unknown): string {
  return error instanceof BridgeError ? `${error.message} [${error.code}]` : messageOf(error);
}

/** The error that a text of `textWithCode` stands for; `otherwise` is the code of one that names none of ours. */
export function errorOfText(text: string, otherwise: ErrorCode): BridgeError {
  const match = /^(.*) \[([A-Z_]+)\]$/s.exec(text);
  const code = match?.[2];
  return code !== undefined && isErrorCode(code)
    ? new BridgeError(code, match![1]!)
    : new BridgeError(otherwise, text);
}

/** The message of anything thrown, for an error text that wraps it. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
