import { type Destination, describeDestination } from '../../shared/destination.ts';
import { BridgeError } from '../../shared/errors.ts';
import { type DestinationRule, parseDestinationRule } from '../../shared/rules/destination-rule.ts';
import { realDestination } from '../../shared/rules/real-destination.ts';

/** Refused destinations that are logged; a host that asks for more of them has been heard of. */
const MAX_TOLD = 64;

/** What the host may have dialled in the VM. */
export class AllowedDestinations {
  private readonly rules: readonly DestinationRule[] | undefined;
  private readonly texts: readonly string[];
  private readonly log: { warn(fields: Record<string, unknown>, text: string): void };
  private readonly told = new Set<string>();
  /** Those of TCP and UDP that were looked at and allowed. */
  private readonly known = new WeakSet<Destination>();

  /** @param texts as `--allow-destination` has them; undefined where all is allowed */
  constructor(texts: readonly string[] | undefined, log: AllowedDestinations['log']) {
    this.texts = texts ?? [];
    this.rules = texts?.map(parseDestinationRule);
    this.log = log;
  }

  /**
   * What is to be dialled: of a unix socket the path without symbolic links, which must not lead out of its directory.
   * @throws BridgeError POLICY_DENIED
   */
  admit(destination: Destination): Destination {
    const { rules, known } = this;
    if (rules === undefined || known.has(destination)) return destination;
    const real = realDestination(rules, destination);
    if (real === undefined) throw this.refusal(destination);
    if (destination.protocol !== 'unix') known.add(destination);
    return real;
  }

  private refusal(destination: Destination): BridgeError {
    const what = describeDestination(destination);
    const allowed = this.texts.join(', ');
    const error = new BridgeError(
      'POLICY_DENIED',
      `${what} may not be dialled: --allow-destination has ${allowed}`,
    );
    if (this.told.size < MAX_TOLD && !this.told.has(what)) {
      this.told.add(what);
      this.log.warn({ code: error.code }, error.message);
    }
    return error;
  }
}
