/**
 * Plain 9P2000 has no error numbers: the Linux client looks the text up in a table (net/9p/error.c) and turns anything it
 * does not find into errno 526 and a line in the kernel log. So the text on the wire is a word of that table, and what the
 * error says to people goes to our log. `fid not found` (which clients of /port know) and
 * `authentication not required` are the exceptions: Linux never asks for a fid that it does not have, nor to authenticate.
 */
import { BridgeError, ERRNO, type ErrnoName, type ErrorCode, errnoNumber, messageOf } from '../errors.ts';

const WORDS = {
  'Operation not permitted': 'EPERM',
  'wstat prohibited': 'EPERM',
  'cannot remove root': 'EPERM',
  'file not found': 'ENOENT',
  'Interrupted system call': 'EINTR',
  'i/o error': 'EIO',
  'fid not found': 'EBADF',
  'bad use of fid': 'EBADF',
  'fid already in use': 'EBADF',
  'Resource temporarily unavailable': 'EAGAIN',
  'Cannot allocate memory': 'ENOMEM',
  'permission denied': 'EACCES',
  'Device or resource busy': 'EBUSY',
  'file already exists': 'EEXIST',
  'not a directory': 'ENOTDIR',
  'Is a directory': 'EISDIR',
  'Invalid argument': 'EINVAL',
  'illegal mode': 'EINVAL',
  'Too many open files in system': 'ENFILE',
  'Too many open files': 'EMFILE',
  'file too big': 'EFBIG',
  'file system is full': 'ENOSPC',
  'Broken pipe': 'EPIPE',
  'File name too long': 'ENAMETOOLONG',
  'directory is not empty': 'ENOTEMPTY',
  'No data available': 'ENODATA',
  'protocol botch': 'EPROTO',
  'Message too long': 'EMSGSIZE',
  'Operation not supported': 'EOPNOTSUPP',
  'authentication not required': 'EOPNOTSUPP',
  'Network is unreachable': 'ENETUNREACH',
  'Software caused connection abort': 'ECONNABORTED',
  'Connection reset by peer': 'ECONNRESET',
  'No buffer space available': 'ENOBUFS',
  'Connection timed out': 'ETIMEDOUT',
  'Connection refused': 'ECONNREFUSED',
  'No route to host': 'EHOSTUNREACH',
} as const satisfies Record<string, ErrnoName>;

export type ErrorWord = keyof typeof WORDS;

/** `bad offset in directory read` is the table's word for ESPIPE, which only 9P2000 directories need. */
const ESPIPE = 29;
const NUMBER_BY_WORD = new Map<string, number>([
  ...Object.entries(WORDS).map(([word, name]): [string, number] => [word, ERRNO[name]]),
  ['bad offset in directory read', ESPIPE],
]);

const WORD_BY_NUMBER = new Map<number, string>();
for (const [word, number] of NUMBER_BY_WORD)
  if (!WORD_BY_NUMBER.has(number)) WORD_BY_NUMBER.set(number, word);

const CODE_BY_NUMBER = new Map<number, ErrorCode>([
  [ERRNO.ENOENT, 'NOT_FOUND'],
  [ERRNO.EEXIST, 'ALREADY_EXISTS'],
  [ERRNO.EACCES, 'PERMISSION_DENIED'],
  [ERRNO.EPERM, 'PERMISSION_DENIED'],
  [ERRNO.EINVAL, 'BAD_REQUEST'],
  [ERRNO.EBADF, 'BAD_REQUEST'],
  [ERRNO.ENAMETOOLONG, 'BAD_REQUEST'],
  [ERRNO.ENOTDIR, 'BAD_REQUEST'],
  [ERRNO.EISDIR, 'BAD_REQUEST'],
  [ERRNO.EMFILE, 'LIMIT_REACHED'],
  [ERRNO.ENFILE, 'LIMIT_REACHED'],
  [ERRNO.ENOSPC, 'LIMIT_REACHED'],
  [ERRNO.ENOMEM, 'LIMIT_REACHED'],
  [ERRNO.ENOBUFS, 'LIMIT_REACHED'],
  [ERRNO.EPROTO, 'PROTOCOL'],
  [ERRNO.EOPNOTSUPP, 'UNSUPPORTED'],
  [ERRNO.ETIMEDOUT, 'TIMEOUT'],
  [ERRNO.EINTR, 'CANCELLED'],
  [ERRNO.ECANCELED, 'CANCELLED'],
]);

/** An error whose message is itself the word that goes out. */
export function p9Error(word: ErrorWord): BridgeError {
  const number = ERRNO[WORDS[word]];
  return new BridgeError(CODE_BY_NUMBER.get(number) ?? 'IO', word, { errno: number });
}

/** A read of a 9P2000 directory anywhere but at its start or where the last one ended (read(5)). */
export function badDirectoryOffset(): BridgeError {
  return new BridgeError('BAD_REQUEST', 'bad offset in directory read', { errno: ESPIPE });
}

/** The text of an Rerror for anything thrown: its own where that is a word for its number, else the number's usual one. */
export function wordFor(error: unknown): string {
  const number = errnoNumber(error);
  const own = messageOf(error);
  return NUMBER_BY_WORD.get(own) === number ? own : (WORD_BY_NUMBER.get(number) ?? 'i/o error');
}

/** The error that an Rerror or Rlerror stands for, on the client's side; `text` is absent in 9P2000.L. */
export function errorFromWire(what: string, text: string | undefined, errno: number): BridgeError {
  const number = errno !== 0 ? errno : (NUMBER_BY_WORD.get(text ?? '') ?? ERRNO.EIO);
  const said = text ?? WORD_BY_NUMBER.get(number) ?? `errno ${number}`;
  return new BridgeError(CODE_BY_NUMBER.get(number) ?? 'IO', `${what}: ${said}`, { errno: number });
}
