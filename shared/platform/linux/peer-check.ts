import { admits, describePeerCids, type PeerCids } from '../../transport/peer-cids.ts';
import type { WorkerLog } from './messages.ts';
import { cidOf } from './sockaddr.ts';

/** Turns away streams of machines that are not awaited; counts them for all threads, and logs the first. */
export class PeerCheck {
  private readonly peers: PeerCids;
  private readonly refused: Int32Array;
  private readonly log: Pick<WorkerLog, 'debug' | 'warn'>;

  /** @param refused one cell that all threads share */
  constructor(peers: PeerCids, refused: Int32Array, log: Pick<WorkerLog, 'debug' | 'warn'>) {
    this.peers = peers;
    this.refused = refused;
    this.log = log;
  }

  /** @param sockaddr of the peer, as accept wrote it; families without a CID have nobody to turn away */
  admits(sockaddr: Buffer): boolean {
    const cid = cidOf(sockaddr);
    if (cid === undefined || admits(this.peers, cid)) return true;
    const before = Atomics.add(this.refused, 0, 1);
    const text = `a stream from CID ${cid} was closed: ${describePeerCids(this.peers)} may connect (--peer-cid)`;
    if (before === 0) this.log.warn({ cid, code: 'PERMISSION_DENIED' }, text);
    else this.log.debug({ cid, refused: before + 1 }, text);
    return false;
  }
}

/** The cell that the threads of a listener share. */
export function refusedCell(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
}
