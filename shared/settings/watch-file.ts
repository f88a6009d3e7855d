import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { dirname } from 'node:path';
import { messageOf } from '../errors.ts';
import type { Logger } from '../logger.ts';

/** A file that is being written changes several times; it is read when it has been quiet for so long, milliseconds. */
const QUIET_MS = 100;

export interface WatchFileOptions {
  readonly file: string;
  /** Called when the file may have changed. Not again before it is done. */
  readonly changed: () => Promise<void>;
  /** For the log: what still has it read where changes are not noticed. */
  readonly otherwise: string;
  readonly log: Logger;
}

/**
 * Calls `changed` after the content of a file has changed, however it is replaced, and when `now` is called. The directory
 * is watched, since an editor puts another file in the place of the one that it read.
 */
export class WatchedFile {
  private readonly options: WatchFileOptions;
  private watcher: FSWatcher | undefined;
  private timer: NodeJS.Timeout | undefined;
  private content: string | undefined;
  private busy: Promise<void> = Promise.resolve();

  constructor(options: WatchFileOptions) {
    this.options = options;
    this.content = this.read();
    const { file, otherwise, log } = options;
    try {
      // Whatever changes there: the file may be a link into a directory that is replaced.
      this.watcher = watch(dirname(file), { persistent: false }, () => this.later());
      this.watcher.on('error', (error) => this.unwatched(error));
    } catch (error) {
      log.warn({ file }, `changes of the file are not noticed: ${messageOf(error)}; ${otherwise}`);
    }
  }

  /** Reads it again, whether it has changed or not. */
  now(): void {
    this.content = this.read();
    this.busy = this.busy.then(this.options.changed);
  }

  close(): void {
    clearTimeout(this.timer);
    this.watcher?.close();
  }

  private later(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.read() !== this.content) this.now();
    }, QUIET_MS);
    this.timer.unref();
  }

  private read(): string | undefined {
    try {
      return readFileSync(this.options.file, 'utf8');
    } catch {
      return undefined;
    }
  }

  private unwatched(error: Error): void {
    const { file, otherwise, log } = this.options;
    log.warn({ file }, `changes of the file are no longer noticed: ${error.message}; ${otherwise}`);
    this.watcher?.close();
  }
}
