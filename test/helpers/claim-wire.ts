/** A link between a claim book and a host's claims that can be cut at any moment, and a table without sockets. */
import { formatForward } from '../../host-agent/control/forward-spec.ts';
import { ForwardTable } from '../../host-agent/control/forward-table.ts';
import { type ClaimLink, ShimClaims } from '../../host-agent/control/shim-claims.ts';
import { type ControlMessage, decodeControl, encodeControl } from '../../shared/control-codec.ts';
import { BridgeError } from '../../shared/errors.ts';
import { silentLogger } from '../../shared/logger.ts';
import { onePort } from '../../shared/port-range.ts';
import type { ClaimBook } from '../../vm-shim/control/claim-book.ts';

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A host whose ports are a set: taking one twice is refused, 0 takes the next free one. */
export class FakeHost {
  readonly ports = new Set<number>();
  readonly table: ForwardTable;
  readonly claims: ShimClaims;

  constructor(graceMs = 30_000) {
    const log = silentLogger();
    this.table = new ForwardTable(async (_vm, spec) => {
      await turn();
      if (spec.protocol === 'unix') throw new BridgeError('UNSUPPORTED', 'no paths here');
      let hostPort = spec.hostPorts.first;
      if (hostPort === 0) for (hostPort = 40_000; this.ports.has(hostPort); ) hostPort++;
      if (this.ports.has(hostPort))
        throw new BridgeError(
          'PORT_IN_USE',
          `Bind for ${spec.hostIps[0]}:${hostPort} failed: port is already allocated`,
        );
      this.ports.add(hostPort);
      const close = async (): Promise<void> => {
        await turn();
        this.ports.delete(hostPort);
      };
      return { resolved: { ...spec, hostPorts: onePort(hostPort) }, forward: { close, stats: () => ({}) } };
    }, log);
    this.claims = new ShimClaims({
      table: this.table,
      vm: 'vm',
      log,
      graceMs,
    });
  }

  get specs(): string[] {
    return this.table
      .list()
      .map(({ spec }) => formatForward(spec))
      .sort();
  }
}

/** One end of a wire; what is sent arrives in a later turn, unless the wire was cut. */
class WireEnd implements ClaimLink {
  readonly peer: ClaimLink['peer'];
  readonly sent: ControlMessage[] = [];
  far: WireEnd | undefined;
  handler: ((message: ControlMessage) => void) | undefined;
  up = true;

  constructor(instance: string) {
    this.peer = {
      version: 1,
      implementation: 'test',
      role: 'shim',
      instance,
      epoch: 0,
      features: ['claims'],
    };
  }

  has(): boolean {
    return true;
  }

  receive(handler: (message: ControlMessage) => void): void {
    this.handler = handler;
  }

  send(message: ControlMessage): void {
    this.sent.push(message);
    const copy = decodeControl(encodeControl(message));
    setImmediate(() => {
      if (this.up && this.far?.up) this.far.handler?.(copy);
    });
  }
}

export interface Wire {
  /** What the shim's end has sent. */
  readonly fromShim: readonly ControlMessage[];
  /** Loses the link; messages on their way are lost. Each side hears of it. */
  cut(): void;
}

/** Joins them by a new link. */
export function join(book: ClaimBook, shimInstance: string, host: FakeHost, hostInstance: string): Wire {
  const atHost = new WireEnd(shimInstance);
  const atShim = new WireEnd(hostInstance);
  atHost.far = atShim;
  atShim.far = atHost;
  host.claims.linkUp(atHost);
  book.linkUp(atShim);
  return {
    fromShim: atShim.sent,
    cut: () => {
      if (!atHost.up) return;
      atHost.up = false;
      atShim.up = false;
      host.claims.linkDown();
      book.linkDown(atShim);
    },
  };
}
