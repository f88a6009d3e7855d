import type { BridgeError } from '../../shared/errors.ts';

/** One forward that somebody in the VM wants, and what the host agent has said about it. */
export class Wish {
  readonly id: number;
  /** What is asked for: once it was granted, with the port that came of it, so that it stays the same. */
  spec: string;
  /** Resolves with the resolved spec, rejects when the first answer is a refusal. */
  readonly answered: Promise<string>;
  /** Resolves when somebody on the host has ended what was granted. */
  readonly ended: Promise<BridgeError>;
  /** It was granted once. */
  granted = false;
  /** It was granted over the link that is up. */
  published = false;
  released: Promise<void> = Promise.resolve();
  private note = '';
  private refusal: BridgeError | undefined;
  private resolve!: (spec: string) => void;
  private reject!: (error: BridgeError) => void;
  end!: (why: BridgeError) => void;

  constructor(id: number, spec: string) {
    this.id = id;
    this.spec = spec;
    this.answered = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.ended = new Promise((resolve) => {
      this.end = resolve;
    });
  }

  grant(spec: string, note: string): void {
    this.spec = spec;
    this.note = note;
    this.granted = true;
    this.published = true;
    this.refusal = undefined;
    this.resolve(spec);
  }

  refuse(error: BridgeError): void {
    this.published = false;
    this.refusal = error;
    this.reject(error);
  }

  /** One line for people. */
  status(linked: boolean): string {
    if (this.refusal !== undefined) return `not published: ${this.refusal.message}`;
    if (!linked) return 'waiting for the link to the host agent';
    if (!this.published) return 'asked for again';
    return this.note === '' ? 'published by the host agent' : this.note;
  }
}
