import { VM_NAME } from '../shared/vm-name.ts';

/** The VM of everything that names none. */
export const DEFAULT_VM = 'default';

const NAMED = new RegExp(`^(${VM_NAME})=(.*)$`, 's');

/** `NAME=<what>`; a name has letters, digits, `.`, `_` and `-`. */
export function splitVmName(text: string): { vm: string; rest: string } {
  const match = NAMED.exec(text);
  return match === null ? { vm: DEFAULT_VM, rest: text } : { vm: match[1]!, rest: match[2]! };
}
