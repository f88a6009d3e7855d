/** The VM of everything that names none. */
export const DEFAULT_VM = 'default';

/** `NAME=<what>`; a name has letters, digits, `.`, `_` and `-`. */
export function splitVmName(text: string): { vm: string; rest: string } {
  const match = /^([A-Za-z0-9._-]{1,64})=(.*)$/s.exec(text);
  return match === null ? { vm: DEFAULT_VM, rest: text } : { vm: match[1]!, rest: match[2]! };
}
