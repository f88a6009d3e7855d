import { formatSpec, type PortSpec, parseSpec } from '../../shared/port-spec.ts';
import {
  formatReverseSpec,
  isReverse,
  parseReverseSpec,
  type ReverseSpec,
} from '../../shared/reverse-spec.ts';

/** What a claim may be for: a port of the host that leads into the VM, or a port of the VM that leads to the host. */
export type ForwardSpec = PortSpec | ReverseSpec;

/** Reads the full notation of either. @throws BridgeError BAD_SPEC */
export function parseForward(text: string): ForwardSpec {
  return isReverse(text) ? parseReverseSpec(text) : parseSpec(text);
}

/** The canonical full notation of either. */
export function formatForward(spec: ForwardSpec): string {
  return spec.protocol === 'reverse' ? formatReverseSpec(spec) : formatSpec(spec);
}
