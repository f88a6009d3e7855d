import { commandName } from './frame.ts';

const FIELDS = 5;

/**
 * The last events of one mux session, for the log after a protocol error. Numbers in one preallocated
 * array: recording allocates nothing.
 */
export class EventRing {
  private readonly slots: Float64Array;
  private readonly size: number;
  private next = 0;
  private filled = 0;

  /** @param size how many events are kept */
  constructor(size = 256) {
    this.size = size;
    this.slots = new Float64Array(size * FIELDS);
  }

  /**
   * @param sent true for a frame that left, false for one that arrived
   * @param value what matters of the frame: payload length, sequence number or errno
   */
  record(sent: boolean, command: number, id: number, value: number): void {
    const at = this.next * FIELDS;
    this.slots[at] = performance.now();
    this.slots[at + 1] = sent ? 1 : 0;
    this.slots[at + 2] = command;
    this.slots[at + 3] = id;
    this.slots[at + 4] = value;
    this.next = (this.next + 1) % this.size;
    if (this.filled < this.size) this.filled++;
  }

  /** Oldest first: `-12.3ms recv data 4294967295 1400`. */
  dump(): string[] {
    const now = performance.now();
    const lines: string[] = [];
    for (let i = 0; i < this.filled; i++) {
      const at = ((this.next - this.filled + i + this.size) % this.size) * FIELDS;
      const [time, sent, command, id, value] = this.slots.subarray(at, at + FIELDS);
      const age = (time! - now).toFixed(1);
      lines.push(`${age}ms ${sent === 1 ? 'sent' : 'recv'} ${commandName(command!)} ${id} ${value}`);
    }
    return lines;
  }
}
