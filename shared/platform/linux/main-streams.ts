import type { PeerStreams } from '../../link/peer-streams.ts';
import type { Logger } from '../../logger.ts';
import type { StreamOrder, StreamReport } from './messages.ts';

/** Answers what workers ask about dedicated streams, on the main thread, where the links are. */
export class MainStreams {
  private readonly peers = new Map<number, PeerStreams>();
  private readonly numbers = new Map<PeerStreams, number>();
  private readonly broadcast: (order: StreamOrder) => void;
  private readonly log: Logger;
  private last = 0;

  /** @param broadcast to all workers */
  constructor(broadcast: (order: StreamOrder) => void, log: Logger) {
    this.broadcast = broadcast;
    this.log = log;
  }

  /** The number by which workers know an instance of the peer; they are told of its resets from now on. */
  numberOf(streams: PeerStreams): number {
    const known = this.numbers.get(streams);
    if (known !== undefined) return known;
    const owner = ++this.last;
    this.numbers.set(streams, owner);
    this.peers.set(owner, streams);
    streams.elsewhere = (streamId, errno) => this.broadcast({ type: 'reset', owner, streamId, errno });
    streams.whenOver = () => {
      this.numbers.delete(streams);
      this.peers.delete(owner);
    };
    return owner;
  }

  /** @returns whether the report was for us */
  take(report: StreamReport | { readonly type: string }, reply: (order: StreamOrder) => void): boolean {
    const known = report as StreamReport;
    switch (known.type) {
      case 'confirm': {
        const { batch } = known;
        const asked = this.peers.get(known.owner)?.confirmEnd() ?? Promise.resolve(false);
        void asked.then((trueEnd) => reply({ type: 'confirmed', batch, trueEnd }));
        return true;
      }
      case 'announce': {
        const { owner, streamId, errno, ticket } = known;
        const said = this.peers.get(owner)?.announceReset(streamId, errno) ?? Promise.resolve(false);
        void said.then(() => reply({ type: 'announced', ticket }));
        return true;
      }
      case 'log':
        this.log[known.level](known.fields, known.text);
        return true;
      default:
        return false;
    }
  }
}
