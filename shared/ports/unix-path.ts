import { lstatSync, unlinkSync } from 'node:fs';
import { chmod, link, lstat, rename, unlink } from 'node:fs/promises';
import { BridgeError, nodeErrno } from '../errors.ts';
import { nobodyListens } from './nobody-listens.ts';
import type { PrivateDirectory } from './private-directory.ts';

/** Which file a path names. A socket that listens pins its inode, so the number cannot be another file's meanwhile. */
export interface FileIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
}

/**
 * Gives a bound socket its mode and its path. Whatever is at that path stays, unless it is a stale socket of ours.
 * @returns what the path names now
 * @throws BridgeError PORT_IN_USE when the path is taken; errors of the filesystem as they are
 */
export async function placeSocket(directory: PrivateDirectory, path: string): Promise<FileIdentity> {
  await chmod(directory.socket, 0o600);
  const identity = await lstat(directory.socket, { bigint: true });
  if (!(await linkUnlessTaken(directory.socket, path))) {
    await removeStale(directory, path);
    if (!(await linkUnlessTaken(directory.socket, path))) throw taken(path, 'another process was faster');
  }
  return identity;
}

/** Unlinks a path if it still names that file, with nothing awaited in between; an error leaves it where it is. */
export function removeIfSame(path: string, identity: FileIdentity): void {
  try {
    if (isSame(lstatSync(path, { bigint: true }), identity)) unlinkSync(path);
  } catch {
    // Gone already, or not ours to remove any more.
  }
}

async function linkUnlessTaken(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (nodeErrno(error) === 'EEXIST') return false;
    throw error;
  }
}

/**
 * Removes what is at the path if it is a socket, ours by user, and refuses connections, as sockets of dead processes do.
 * The check and the removal cannot be one step. So it is first moved to where nobody else can put another in its place,
 * and looked at again: had the path changed hands meanwhile, it goes back. Two processes that replace the same stale
 * socket in the same instant can still both believe that they have it; nothing that Node offers rules that out.
 */
async function removeStale(directory: PrivateDirectory, path: string): Promise<void> {
  const found = await lstatIfThere(path);
  if (found === undefined) return;
  if (!found.isSocket()) throw taken(path, 'it exists and is not a socket');
  if (found.uid !== BigInt(process.geteuid?.() ?? -1))
    throw taken(path, `its socket is of user ${found.uid}`);
  if (!(await nobodyListens(path))) throw taken(path, 'a process listens there');
  const now = await lstatIfThere(path);
  if (now === undefined) return;
  if (!isSame(now, found)) throw taken(path, 'another process was faster');
  if (!(await moveIfThere(path, directory.stale))) return;
  if (isSame(await lstat(directory.stale, { bigint: true }), found)) {
    await unlink(directory.stale);
    return;
  }
  if (!(await linkUnlessTaken(directory.stale, path))) {
    throw taken(path, `several processes want it; one socket was left at ${directory.stale}`);
  }
  await unlink(directory.stale);
  throw taken(path, 'another process was faster');
}

async function moveIfThere(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (nodeErrno(error) === 'ENOENT') return false;
    throw error;
  }
}

async function lstatIfThere(path: string) {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if (nodeErrno(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function isSame(a: FileIdentity, b: FileIdentity): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

function taken(path: string, why: string): BridgeError {
  const place = { protocol: 'unix', path } as const;
  return new BridgeError('PORT_IN_USE', `Bind for ${path} failed: ${why}`, { place });
}
