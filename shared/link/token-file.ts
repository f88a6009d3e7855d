/**
 * The file of the token that a host agent and a VM shim share: one line of 32 to 1,024 printable ASCII characters,
 * readable by its owner alone. It is read anew for later links, so that a token can be changed while links are up.
 */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { BridgeError, nodeErrno } from '../errors.ts';
import { fileError } from '../file-error.ts';

/** Fewer characters could be guessed by who has seen one proof. */
const MIN_TOKEN_CHARACTERS = 32;
const MAX_TOKEN_CHARACTERS = 1_024;
/** What a new token is drawn from, bytes; it is written in hexadecimal. */
const NEW_TOKEN_BYTES = 32;
/** Links that are begun within so long share one reading: who connects in a storm costs no file operations, milliseconds. */
const FRESH_MS = 1_000;
/** Bits of a mode that let others than the owner in. */
const OTHERS = 0o077;

/**
 * Reads a token.
 * @returns the token without the newline; never to be logged
 * @throws BridgeError NOT_FOUND, PERMISSION_DENIED (also where others may read it), BAD_REQUEST for what is no token, IO
 */
export async function readToken(path: string): Promise<Buffer> {
  const file = await openToken(path);
  try {
    await checkFile(file, path);
    // One byte more than there may be, behind them a newline of two bytes.
    const room = Buffer.alloc(MAX_TOKEN_CHARACTERS + 3);
    const { bytesRead } = await file.read(room, 0, room.length, 0);
    return parseToken(room.subarray(0, bytesRead), path);
  } finally {
    await file.close();
  }
}

/** Reads the token for one link after the other. @param now milliseconds of a clock that never runs backwards */
export function tokenReader(path: string, now = () => performance.now()): () => Promise<Buffer> {
  let reading: Promise<Buffer> | undefined;
  let readAt = 0;
  return () => {
    if (reading === undefined || now() - readAt > FRESH_MS) {
      readAt = now();
      reading = readToken(path);
    }
    return reading;
  };
}

/**
 * Writes a new random token to a file of mode 0600.
 * @throws BridgeError ALREADY_EXISTS, as a token in use is never overwritten; BAD_REQUEST for no name; NOT_FOUND, PERMISSION_DENIED, IO
 */
export async function writeNewToken(path: string): Promise<void> {
  if (path === '') throw new BridgeError('BAD_REQUEST', 'the name of the token file to write is empty');
  let file: FileHandle;
  try {
    file = await open(path, 'wx', 0o600);
  } catch (error) {
    if (nodeErrno(error) === 'EEXIST')
      throw new BridgeError(
        'ALREADY_EXISTS',
        `${path} exists already and is left as it is: remove it first, or choose another name`,
      );
    throw fileError(error, `cannot write the token file ${path}`);
  }
  try {
    await file.write(`${randomBytes(NEW_TOKEN_BYTES).toString('hex')}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** @throws BridgeError BAD_REQUEST; the message never has a byte of what was read */
export function parseToken(bytes: Buffer, path: string): Buffer {
  const text = bytes.toString('latin1').replace(/\r?\n$/, '');
  const bad = (why: string): BridgeError =>
    new BridgeError('BAD_REQUEST', `${why}; portferry token FILE makes a good one`);
  if (text.length === 0) throw bad(`the token file ${path} is empty`);
  if (text.length > MAX_TOKEN_CHARACTERS)
    throw bad(`the token in ${path} is longer than ${MAX_TOKEN_CHARACTERS} characters`);
  if (!/^[\x21-\x7e]*$/.test(text))
    throw bad(`the token file ${path} has to be one line of printable ASCII characters without blanks`);
  if (text.length < MIN_TOKEN_CHARACTERS)
    throw bad(
      `the token in ${path} has ${text.length} characters; it needs ${MIN_TOKEN_CHARACTERS} at least`,
    );
  return Buffer.from(text, 'latin1');
}

async function openToken(path: string): Promise<FileHandle> {
  try {
    // A named pipe is not waited for.
    return await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    throw fileError(error, `cannot read the token file ${path}`);
  }
}

/** Windows has no modes and no owners by number; there the directory has to protect it. */
async function checkFile(file: FileHandle, path: string): Promise<void> {
  const stats = await file.stat();
  if (!stats.isFile()) throw new BridgeError('BAD_REQUEST', `the token file ${path} is no regular file`);
  const { mode, uid } = stats;
  const me = process.getuid?.();
  if (me === undefined) return;
  if ((mode & OTHERS) !== 0)
    throw new BridgeError(
      'PERMISSION_DENIED',
      `others may use the token file ${path} (mode ${(mode & 0o777).toString(8).padStart(4, '0')}): chmod 600 ${path}, and a new token if somebody may have read it`,
    );
  if (uid !== me && uid !== 0)
    throw new BridgeError(
      'PERMISSION_DENIED',
      `the token file ${path} belongs to another user (uid ${uid}), who can read and change it: it has to be ours or root's`,
    );
}
