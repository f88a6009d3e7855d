/** How many cases of a group passed and failed. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

/**
 * Runs a group once more when its guest stood still: not even a loop of its shell went on, or a program that was killed
 * did not end. Nothing that is tested can do that; it is the emulator that has stopped, or the kernel in it.
 * @param run answers undefined when the guest stood still
 * @throws when it did so twice
 */
export async function onceMore(group: string, run: () => Promise<Counts | undefined>): Promise<Counts> {
  const first = await run();
  if (first !== undefined) return first;
  console.log(`group ${group} is run once more, in another guest`);
  const second = await run();
  if (second === undefined) throw new Error(`the guest of group ${group} stood still twice`);
  return second;
}
