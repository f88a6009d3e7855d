/** Something that may run out of time; a place in one list at a time. */
export interface Timed {
  /** It is out of time, and in the list no longer. */
  expired(): void;
}

interface Link {
  previous: Link;
  next: Link;
  at: number;
  item: Timed | undefined;
}

/** A handle to take something out again. */
export type Deadline = Link;

/** Deadlines that are all as far away when they are set, so that the list is in order: every step costs O(1). */
export class Deadlines {
  private readonly ms: number;
  private readonly head: Link;

  /** @param ms how far away each is */
  constructor(ms: number) {
    this.ms = ms;
    const head = { at: Number.POSITIVE_INFINITY, item: undefined } as unknown as Link;
    head.previous = head;
    head.next = head;
    this.head = head;
  }

  /** @param now the same clock as for `run` */
  add(item: Timed, now: number): Deadline {
    const { head } = this;
    const link: Link = { previous: head.previous, next: head, at: now + this.ms, item };
    head.previous.next = link;
    head.previous = link;
    return link;
  }

  /** When the first is due; Infinity when there is none. */
  get first(): number {
    return this.head.next.at;
  }

  run(now: number): void {
    for (;;) {
      const link = this.head.next;
      const { item } = link;
      if (item === undefined || link.at > now) return;
      removeDeadline(link);
      item.expired();
    }
  }
}

/** Takes a deadline out of its list. May be called again, and after it has expired. */
export function removeDeadline(link: Deadline): void {
  if (link.item === undefined) return;
  link.item = undefined;
  link.previous.next = link.next;
  link.next.previous = link.previous;
}
