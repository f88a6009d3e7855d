/** A field of a C struct: its name and how many bytes it has, which is its alignment as well. */
export type Field = readonly [name: string, bytes: number];

/**
 * Offsets as the C ABI of LP64 systems gives them (System V psABI, AAPCS64): each field at a multiple of its alignment.
 * @param packed as `__attribute__((packed))` has it: one behind the other
 */
export function offsetsOf(fields: readonly Field[], packed = false): Record<string, number> {
  const offsets: Record<string, number> = {};
  let at = 0;
  let widest = 1;
  for (const [name, bytes] of fields) {
    const alignment = packed ? 1 : bytes;
    at = Math.ceil(at / alignment) * alignment;
    offsets[name] = at;
    at += bytes;
    widest = Math.max(widest, alignment);
  }
  return { ...offsets, size: Math.ceil(at / widest) * widest };
}
