import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { nodeErrno } from '../../../shared/errors.ts';

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
export async function writeAtomically(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = temporaryName(path);
  await rm(temporary, { force: true }); // of a writer that was killed; it may have another mode
  let file: FileHandle | undefined;
  try {
    file = await open(temporary, 'wx', 0o600);
    await file.writeFile(bytes);
    await file.sync();
    await file.close();
    file = undefined;
    await rename(temporary, path);
  } catch (error) {
    await file?.close().catch(() => undefined);
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
  await syncDirectory(dirname(path));
}

/** A rename lasts when its directory has been written (fsync(2)). */
export async function syncDirectory(path: string): Promise<void> {
  let directory: FileHandle;
  try {
    directory = await open(path, constants.O_RDONLY | (constants.O_DIRECTORY ?? 0));
  } catch (error) {
    // Windows opens no directory; one that may not be read cannot be opened either. The rename is done all the same.
    if (['EISDIR', 'EPERM', 'EACCES', 'EINVAL'].includes(nodeErrno(error) ?? '')) return;
    throw error;
  }
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
