/**
 * The file that permanent forwards live in. One host agent has it; each change replaces it whole. What cannot be read as
 * what was written is set aside under another name, never overwritten.
 */
import { lstat, open, realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { BridgeError, messageOf, nodeErrno } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/logger.ts';
import { renameLasting, writeAtomically } from './atomic-write.ts';
import { lockFile } from './file-lock.ts';
import { decodeState, encodeState, type SavedForward } from './state-format.ts';

/** 4,096 forwards have less than 4 MB. */
const MAX_BYTES = 16 * 1024 * 1024;

export class StateFile {
  readonly path: string;
  /** What was in it when it was opened. */
  readonly found: readonly SavedForward[];
  private readonly unlock: () => Promise<void>;
  private wanted: readonly SavedForward[] | undefined;
  private writing: Promise<void> = Promise.resolve();
  private waiting: Promise<void> | undefined;

  private constructor(path: string, found: readonly SavedForward[], unlock: () => Promise<void>) {
    this.path = path;
    this.found = found;
    this.unlock = unlock;
  }

  /**
   * Takes the file for this process and reads it. A damaged one is renamed, with the time in its new name.
   * @throws BridgeError STATE_IN_USE, NOT_FOUND (its directory), PERMISSION_DENIED, UNSUPPORTED or IO
   */
  static async open(name: string, log: Logger): Promise<StateFile> {
    const path = await resolved(name);
    const unlock = await lockFile(path);
    try {
      return new StateFile(path, await load(path, log), unlock);
    } catch (error) {
      await unlock();
      throw stateError(path, error);
    }
  }

  /**
   * Resolves when this content, or a later one, lasts. Changes that come while it is being written are written together.
   * @throws BridgeError IO or PERMISSION_DENIED; the file has its last content then
   */
  save(forwards: readonly SavedForward[]): Promise<void> {
    this.wanted = forwards;
    this.waiting ??= this.writing.then(
      () => this.write(),
      () => this.write(),
    );
    return this.waiting;
  }

  /** Waits for what is being written and gives the file back. */
  async close(): Promise<void> {
    await (this.waiting ?? this.writing).catch(() => undefined);
    await this.unlock();
  }

  private write(): Promise<void> {
    this.waiting = undefined;
    this.writing = writeAtomically(this.path, encodeState(this.wanted!)).catch((error) => {
      throw stateError(this.path, error);
    });
    return this.writing;
  }
}

/** The same file by whatever name, so that its lock is the same too. */
async function resolved(name: string): Promise<string> {
  const path = resolve(name);
  try {
    return await realpath(path);
  } catch (error) {
    if (nodeErrno(error) !== 'ENOENT') throw stateError(path, error);
  }
  try {
    return join(await realpath(dirname(path)), basename(path));
  } catch (error) {
    if (nodeErrno(error) === 'ENOENT')
      throw new BridgeError('NOT_FOUND', `the directory of the state file ${path} does not exist`, {
        cause: error,
      });
    throw stateError(path, error);
  }
}

async function load(path: string, log: Logger): Promise<readonly SavedForward[]> {
  const bytes = await read(path);
  if (bytes === undefined) return [];
  const state = decodeState(bytes);
  if ('forwards' in state) return state.forwards;
  const aside = await setAside(path);
  log.error(
    { state: path, aside },
    `the state file ${path} is damaged: ${state.damaged}. It is now ${aside}; there are no permanent forwards`,
  );
  return [];
}

async function read(path: string): Promise<Buffer | undefined> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (nodeErrno(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const { size } = await file.stat();
    if (size > MAX_BYTES)
      throw new BridgeError(
        'IO',
        `the state file ${path} has ${size} bytes, more than the ${MAX_BYTES} one may have`,
      );
    return await file.readFile();
  } finally {
    await file.close();
  }
}

/** Renames it to a name that is free, with the time in it. @returns that name */
async function setAside(path: string): Promise<string> {
  const time = new Date().toISOString().replace(/[:.]/g, '-');
  for (let count = 0; ; count++) {
    const aside = `${path}.damaged-${time}${count === 0 ? '' : `-${count}`}`;
    if (await exists(aside)) continue;
    await renameLasting(path, aside);
    return aside;
  }
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

function stateError(path: string, error: unknown): BridgeError {
  if (error instanceof BridgeError && error.code === 'UNSUPPORTED')
    return new BridgeError('UNSUPPORTED', `the state file ${path} cannot be used: ${error.message}`);
  if (error instanceof BridgeError) return error;
  const errno = nodeErrno(error);
  const denied = errno === 'EACCES' || errno === 'EPERM' || errno === 'EROFS';
  const reasons: Record<string, string> = { EISDIR: 'it is a directory', ENOSPC: 'the disk is full' };
  const why = denied ? 'permission denied' : (reasons[errno ?? ''] ?? messageOf(error));
  return new BridgeError(denied ? 'PERMISSION_DENIED' : 'IO', `the state file ${path}: ${why}`, {
    cause: error,
  });
}
