import { randomBytes } from 'node:crypto';
import { FEATURES, type Hello, LINK_VERSION } from '../control-codec.ts';
import { VERSION } from '../version.ts';

/** Who we are, the same on every link of this process. */
export class LinkIdentity {
  readonly role: 'host' | 'shim';
  readonly instance = randomBytes(16).toString('hex');
  private epoch = 0;

  constructor(role: 'host' | 'shim') {
    this.role = role;
  }

  /** The hello of the next link. @param nonce where there is a token */
  nextHello(nonce?: Buffer): Hello {
    return {
      version: LINK_VERSION,
      implementation: `portferry ${VERSION}`,
      role: this.role,
      instance: this.instance,
      epoch: this.epoch++,
      features: FEATURES,
      ...(nonce === undefined ? {} : { nonce }),
    };
  }
}
