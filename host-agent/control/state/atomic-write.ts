import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { nodeErrno } from '../../../shared/errors.ts';
import { onWindows } from '../../../shared/platform/choose.ts';

/** For how long a rename that Windows denies is tried again, and how often, milliseconds. */
const DENIED_MS = 1_000;
const AGAIN_MS = 20;

/** What the system does, so that tests can do as another one. */
export interface FileSystem {
  readonly windows: boolean;
  readonly open: typeof open;
  readonly rename: typeof rename;
}

const SYSTEM: FileSystem = { windows: onWindows, open, rename };

/** Where the new content is until it is whole. */
export function temporaryName(path: string): string {
  return `${path}.new`;
}

/**
 * Replaces a file so that whoever reads it, after a kill or a loss of power at whatever moment, finds the old content or
 * the new one: written beside it, fsync, rename (rename(2) is atomic), fsync of the directory. The file is its user's
 * alone (0600). One writer at a time.
 * @throws the system's errors; the old content is still there then
 */
export async function writeAtomically(path: string, bytes: Uint8Array, system = SYSTEM): Promise<void> {
  const temporary = temporaryName(path);
  await rm(temporary, { force: true }); // of a writer that was killed; it may have another mode
  let file: FileHandle | undefined;
  try {
    file = await system.open(temporary, 'wx', 0o600);
    await file.writeFile(bytes);
    await file.sync();
    await file.close();
    file = undefined;
    await renameLasting(temporary, path, system);
  } catch (error) {
    await file?.close().catch(() => undefined);
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}

/**
 * Renames a file within its directory, so that it lasts. Windows denies that for as long as somebody looks into either
 * file, as virus scanners and indexers do of new ones, and is asked again for a while.
 * @throws the system's errors
 */
export async function renameLasting(from: string, to: string, system = SYSTEM): Promise<void> {
  const { windows, rename } = system;
  for (const start = performance.now(); ; await delay(AGAIN_MS)) {
    try {
      await rename(from, to);
      break;
    } catch (error) {
      const momentary = windows && ['EPERM', 'EACCES', 'EBUSY'].includes(nodeErrno(error) ?? '');
      if (!momentary || performance.now() - start > DENIED_MS) throw error;
    }
  }
  await syncDirectory(dirname(to), system);
}

/**
 * A rename lasts when its directory has been written (fsync(2)). Some systems cannot do that: the rename is done all the
 * same, and lasts once they have written it by themselves.
 */
async function syncDirectory(path: string, { open }: FileSystem): Promise<void> {
  try {
    const directory = await open(path, constants.O_RDONLY | (constants.O_DIRECTORY ?? 0));
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  } catch (error) {
    // Windows syncs nothing that is open for reading only (FlushFileBuffers); a directory that may not be read cannot
    // be opened; and some filesystems sync none.
    if (!['EISDIR', 'EPERM', 'EACCES', 'EINVAL'].includes(nodeErrno(error) ?? '')) throw error;
  }
}
