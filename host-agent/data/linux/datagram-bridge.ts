/**
 * Datagrams that a worker received and that this thread has to carry, because the link has no dedicated streams or
 * the shim does not know `udp-flows`. They come and go as u32 frames over a pair of sockets.
 */
import { Socket } from 'node:net';
import { BridgeError } from '../../../shared/errors.ts';
import { MAX_BACKLOG_BYTES } from '../../../shared/relay/datagram-stream.ts';
import {
  encodeFlowFrame,
  type FlowFrame,
  FlowFrameDecoder,
  UNKNOWN_ADDRESS,
} from '../../../shared/relay/udp-frame.ts';
import type { LinkSource } from '../tunnel.ts';
import { openUdpPath, type UdpPath, type UdpTarget } from '../udp-path.ts';

/** Datagrams held while the path is being opened; the rest is dropped. */
const MAX_HELD = 64;

export interface DatagramBridgeOptions {
  /** Our end of the pair; it is the bridge's now. */
  readonly fd: number;
  readonly target: UdpTarget;
  readonly links: LinkSource;
  /** What was dropped here was counted as sent by the worker. */
  readonly dropped: (datagrams: number, bytes: number) => void;
  /** An answer was dropped, which nobody has counted yet. */
  readonly answerDropped: () => void;
  readonly failed: (error: Error) => void;
  readonly closed: () => void;
}

export class DatagramBridge {
  private readonly options: DatagramBridgeOptions;
  private readonly socket: Socket;
  private readonly decoder = new FlowFrameDecoder();
  private readonly cancel = new AbortController();
  private path: UdpPath | undefined;
  private held: FlowFrame[] = [];

  constructor(options: DatagramBridgeOptions) {
    this.options = options;
    const { fd } = options;
    this.socket = new Socket({ fd, readable: true, writable: true });
    this.socket.on('data', (chunk: Buffer) => this.decoder.push(chunk, (frame) => this.take(frame)));
    this.socket.on('error', () => {}); // the worker is gone; 'close' follows
    this.socket.on('close', () => {
      this.cancel.abort();
      this.path?.close();
      options.closed();
    });
    void this.open();
  }

  close(): void {
    this.socket.destroy();
  }

  private async open(): Promise<void> {
    const { links, target, failed } = this.options;
    const { signal } = this.cancel;
    let path: UdpPath | undefined;
    let over = false;
    try {
      path = await openUdpPath(await links.whenUp(signal), target, signal, {
        answer: (flow, payload) => this.write({ flow, ended: false, addresses: undefined, payload }),
        flowEnded: (flow) => this.write({ flow, ended: true, addresses: undefined, payload: NOTHING }),
        closed: () => {
          over = true;
          this.close();
        },
      });
      if (signal.aborted) return path.close();
      if (over) throw new BridgeError('LINK_LOST', 'the stream to the VM ended at once');
      this.path = path;
      for (const frame of this.held.splice(0)) this.send(path, frame);
    } catch (error) {
      for (const { payload } of this.held.splice(0)) this.options.dropped(1, payload.length);
      if (!signal.aborted) failed(error as Error);
      this.close();
    }
  }

  private take(frame: FlowFrame): void {
    if (this.path !== undefined) return this.send(this.path, frame);
    if (this.held.length < MAX_HELD) this.held.push(frame);
    else if (!frame.ended) this.options.dropped(1, frame.payload.length);
  }

  private send(path: UdpPath, { flow, ended, addresses, payload }: FlowFrame): void {
    if (ended) return path.endFlow(flow);
    if (!path.send(flow, addresses ?? NOWHERE, payload)) this.options.dropped(1, payload.length);
  }

  private write(frame: FlowFrame): void {
    if (this.socket.destroyed || this.socket.writableLength > MAX_BACKLOG_BYTES) {
      if (!frame.ended) this.options.answerDropped();
      return;
    }
    for (const buffer of encodeFlowFrame(frame) ?? []) this.socket.write(buffer);
  }
}

const NOTHING = Buffer.alloc(0);
const NOWHERE = { client: UNKNOWN_ADDRESS, local: UNKNOWN_ADDRESS };
