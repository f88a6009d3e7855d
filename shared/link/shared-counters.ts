import type { RelayCounters } from '../relay/connection.ts';

const UP = 0;
const DOWN = 1;

/** Bytes that were relayed, in memory that several threads see. One thread at a time counts. */
export class SharedCounters implements RelayCounters {
  cells: Float64Array;

  constructor(
    cells: Float64Array = new Float64Array(new SharedArrayBuffer(2 * Float64Array.BYTES_PER_ELEMENT)),
  ) {
    this.cells = cells;
  }

  get bytesUp(): number {
    return this.cells[UP]!;
  }

  set bytesUp(bytes: number) {
    this.cells[UP] = bytes;
  }

  get bytesDown(): number {
    return this.cells[DOWN]!;
  }

  set bytesDown(bytes: number) {
    this.cells[DOWN] = bytes;
  }
}
