import type { AbortedStream } from '../../../shared/platform/linux/aborted-stream.ts';
import { RESULT_BYTES } from '../../../shared/preface.ts';
import { TunnelDial, type TunnelSource } from './tunnel-dial.ts';

export interface DatagramDialOwner extends TunnelSource {
  /** The shim has said yes: the watched descriptor is the owner's. */
  opened(fd: number): void;
  dialFailed(why: string): void;
  /** The shim aborts the stream that was opened. */
  aborted(): void;
}

/** Opens a dedicated stream for the datagrams of a forward, and aborts it when told to. */
export class DatagramDial extends TunnelDial<DatagramDialOwner> {
  start(): void {
    this.begin();
  }

  override cancel(): void {
    super.cancel();
  }

  override announce(stream: AbortedStream, errno: number): void {
    super.announce(stream, errno);
  }

  override forget(): void {
    super.forget();
  }

  /** The stream is the forward's, not one client's. */
  protected override get peer(): Buffer {
    return NOBODY;
  }

  /** The frames behind the answer are the owner's to read. */
  protected override get answerRoom(): number {
    return RESULT_BYTES;
  }

  protected override opened(fd: number): void {
    this.source.opened(fd);
  }

  protected override unreachable(_errno: number, why: string): void {
    this.source.dialFailed(why);
  }

  protected override aborted(): void {
    this.source.aborted();
  }
}

const NOBODY = Buffer.alloc(2);
