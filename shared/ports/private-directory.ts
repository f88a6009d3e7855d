import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { type FileHandle, mkdtemp, open, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BridgeError, messageOf, nodeErrno } from '../errors.ts';
import { MAX_UNIX_PATH_BYTES } from '../spec-path.ts';

/** What every system's sun_path holds without the NUL (macOS and the BSDs: 104 bytes, Linux: 108). */
const BINDABLE_BYTES = 103;

/**
 * A directory of mode 0700 on the same filesystem as a socket path that is to be made, for the moment while it is made.
 * Nobody else can reach what is in it.
 */
export class PrivateDirectory {
  /** The path that it is for. */
  private readonly target: string;
  private readonly directory: string;
  /**
   * Random, because libuv unlinks by this name once more when the server closes, long after the directory has gone. Short,
   * because the path has to have room for it.
   */
  private readonly name = randomBytes(3).toString('base64url');
  private handle: FileHandle | undefined;

  private constructor(target: string, directory: string) {
    this.target = target;
    this.directory = directory;
  }

  /** @throws BridgeError as errorFor has it, when the directory of `target` is missing or may not be written to */
  static async beside(target: string): Promise<PrivateDirectory> {
    try {
      return new PrivateDirectory(target, await mkdtemp(join(dirname(target), '.pf')));
    } catch (error) {
      throw unixBindError(error, target);
    }
  }

  /** Where the new socket is. */
  get socket(): string {
    return join(this.directory, this.name);
  }

  /** Where a stale one is put before it goes. */
  get stale(): string {
    return join(this.directory, 'stale');
  }

  /**
   * The name to bind. It may be longer than the target's: where it does not fit, it is reached through the descriptor of
   * the directory (proc(5), /proc/self/fd).
   * @param hasDescriptors whether the system has such paths
   * @throws BridgeError BAD_REQUEST where it has not and the path of the directory is too long, and for a target that
   *   clients could not name
   */
  async socketName(hasDescriptors = existsSync('/proc/self/fd')): Promise<string> {
    const bytes = Buffer.byteLength(this.target);
    const most = hasDescriptors ? MAX_UNIX_PATH_BYTES : BINDABLE_BYTES;
    if (bytes > most) throw this.tooLong(`the path has ${bytes} bytes, of ${most} that it may have`);
    const excess = Buffer.byteLength(this.socket) - BINDABLE_BYTES;
    if (excess <= 0) return this.socket;
    if (!hasDescriptors) {
      const above = Buffer.byteLength(dirname(this.target));
      throw this.tooLong(
        `the path of its directory has ${above} bytes, of ${above - excess} that it may have here`,
      );
    }
    this.handle = await open(this.directory, 'r');
    return `/proc/self/fd/${this.handle.fd}/${this.name}`;
  }

  private tooLong(why: string): BridgeError {
    return new BridgeError('BAD_REQUEST', `Bind for ${this.target} failed: ${why}`);
  }

  /** The error to show for anything that went wrong on the way to the target. */
  errorFor(error: unknown): BridgeError {
    return unixBindError(error, this.target);
  }

  /**
   * Removes it with the socket's first name. It stays when it still holds something that is not ours to remove. Never
   * throws: what could not be removed harms nobody, and the socket is in its place.
   */
  async remove(): Promise<void> {
    await this.handle?.close();
    await rm(this.socket, { force: true }).catch(() => undefined);
    await rmdir(this.directory).catch(() => undefined);
  }
}

function unixBindError(error: unknown, path: string): BridgeError {
  if (error instanceof BridgeError) return error;
  const name = nodeErrno(error);
  const failed = `Bind for ${path} failed`;
  switch (name) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new BridgeError('NOT_FOUND', `${failed}: its directory does not exist`, { cause: error });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new BridgeError('PERMISSION_DENIED', `${failed}: permission denied`, { cause: error });
    default:
      return new BridgeError('IO', `Bind for ${path}: unexpected error ${name ?? messageOf(error)}`, {
        cause: error,
      });
  }
}
