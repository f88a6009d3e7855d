/** What the main thread and a worker say to each other about dedicated streams, on both sides of the link. */

/** Main thread to worker. `owner` is a number for one instance of the peer program. */
export type StreamOrder =
  | { readonly type: 'reset'; readonly owner: number; readonly streamId: number; readonly errno: number }
  | { readonly type: 'confirmed'; readonly batch: number; readonly trueEnd: boolean }
  | { readonly type: 'announced'; readonly ticket: number }
  | { readonly type: 'stop' };

/** Worker to main thread. */
export type StreamReport =
  | { readonly type: 'confirm'; readonly owner: number; readonly batch: number }
  | {
      readonly type: 'announce';
      readonly owner: number;
      readonly streamId: number;
      readonly errno: number;
      readonly ticket: number;
    }
  | {
      readonly type: 'log';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly fields: Record<string, unknown>;
      readonly text: string;
    };

/** A worker's way to the log. */
export class WorkerLog {
  private readonly post: (report: StreamReport) => void;

  constructor(post: (report: StreamReport) => void) {
    this.post = post;
  }

  debug(fields: Record<string, unknown>, text: string): void {
    this.post({ type: 'log', level: 'debug', fields, text });
  }

  info(fields: Record<string, unknown>, text: string): void {
    this.post({ type: 'log', level: 'info', fields, text });
  }

  warn(fields: Record<string, unknown>, text: string): void {
    this.post({ type: 'log', level: 'warn', fields, text });
  }
}
