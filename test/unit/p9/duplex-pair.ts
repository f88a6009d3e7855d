import { Duplex } from 'node:stream';

/** Two streams in memory, each reading what the other writes; the end or destruction of one reaches the other. */
export function duplexPair(highWaterMark = 64 * 1024): [Duplex, Duplex] {
  const ends: Duplex[] = [];
  let wanted: Array<(() => void) | undefined> = [undefined, undefined];
  const make = (self: 0 | 1): Duplex => {
    const other = (1 - self) as 0 | 1;
    return new Duplex({
      highWaterMark,
      read() {
        const resume = wanted[self];
        wanted[self] = undefined;
        resume?.();
      },
      write(chunk, _encoding, done) {
        const peer = ends[other] as Duplex;
        if (peer.destroyed) return done();
        // Like a socket: the write is done when the peer has room for more.
        if (peer.push(chunk)) done();
        else wanted[other] = done;
      },
      final(done) {
        ends[other]?.push(null);
        done();
      },
      destroy(error, done) {
        const peer = ends[other] as Duplex;
        setImmediate(() => {
          if (!peer.destroyed) peer.destroy();
        });
        wanted = [undefined, undefined];
        done(error);
      },
    });
  };
  ends.push(make(0), make(1));
  return ends as [Duplex, Duplex];
}
