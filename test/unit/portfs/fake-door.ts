import { BridgeError } from '../../../shared/errors.ts';
import type { PortClaim, PortDoor } from '../../../shared/portfs/door.ts';

interface Asked {
  readonly spec: string;
  readonly signal: AbortSignal;
  grant(resolved?: string): void;
  refuse(message: string): void;
}

/** A door that grants at once what begins with `tcp:` and refuses the rest, or leaves the answer to the test. */
export class FakeDoor implements PortDoor {
  /** Specs that are bound now. */
  readonly bound = new Set<string>();
  readonly events: string[] = [];
  readonly asked: Asked[] = [];
  /** Let the test answer. */
  manual = false;
  /** Ends what was granted, as somebody else does. */
  readonly end = new Map<string, (why: BridgeError) => void>();
  /** Releases wait for this. */
  releasing: Promise<void> = Promise.resolve();

  claim(spec: string, signal: AbortSignal): Promise<PortClaim> {
    return new Promise((resolve, reject) => {
      const asked: Asked = {
        spec,
        signal,
        grant: (resolved = spec.replace(':0:', ':49153:')) => resolve(this.granted(resolved)),
        refuse: (message) => reject(new BridgeError('PORT_IN_USE', message)),
      };
      signal.addEventListener('abort', () => this.events.push(`abort ${spec}`));
      this.asked.push(asked);
      if (this.manual) return;
      if (spec.startsWith('tcp:')) asked.grant();
      else asked.refuse('Bind for 0.0.0.0:80 failed: port is already allocated');
    });
  }

  private granted(resolved: string): PortClaim {
    this.bound.add(resolved);
    this.events.push(`bind ${resolved}`);
    return {
      resolved,
      status: () => 'listening',
      stats: () => ({ connections: 3, 'bytes-in': 12345 }),
      ended: new Promise((resolve) => this.end.set(resolved, resolve)),
      release: async (options) => {
        this.bound.delete(resolved);
        this.events.push(`release ${resolved}${options?.now ? ' now' : ''}`);
        await this.releasing;
      },
    };
  }
}
