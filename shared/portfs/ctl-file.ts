import type { Limit } from '../limit.ts';
import type { OpenFile } from '../p9/filesystem.ts';
import type { PortDoor } from './door.ts';
import type { Entry } from './entry.ts';
import { TextSnapshot } from './text-snapshot.ts';

/** One opening of an entry's ctl: write a request, read the answer, close to end what this opening wrote. */
export class CtlFile implements OpenFile {
  private readonly entry: Entry;
  private readonly door: PortDoor;
  private readonly text: TextSnapshot;

  /** @param texts bytes of texts that are kept for readers */
  constructor(entry: Entry, door: PortDoor, texts: Limit) {
    this.entry = entry;
    this.door = door;
    this.text = new TextSnapshot(texts);
    entry.ctlOpened();
  }

  read(offset: number, count: number, signal: AbortSignal): Promise<Uint8Array> {
    return this.text.read(offset, count, () => this.entry.answer(signal));
  }

  /** Takes all of it even when the request fails: the reason is in what ctl reads then. Where it is written is the same. */
  async write(_offset: number, data: Uint8Array, signal: AbortSignal): Promise<number> {
    if (data.length === 0) return 0;
    this.text.forget();
    await this.entry.request(this, data, this.door, signal);
    return data.length;
  }

  close(): Promise<void> {
    this.text.close();
    return this.entry.ctlClosed(this);
  }
}
