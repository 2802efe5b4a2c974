import { ConfigError } from "../base/errors.js";

/** A JSON object whose fields are read by checked accessors; errors name the file and the dotted path of the field. */
export class ConfigFields {
  constructor(
    private readonly fields: Readonly<Record<string, unknown>>,
    private readonly where: string,
  ) {}

  /** Wraps a parsed JSON value. Throws `ConfigError` unless it is an object. */
  static of(value: unknown, where: string): ConfigFields {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new ConfigError(`${where}: expected an object, received ${describe(value)}`);
    }
    return new ConfigFields(value as Record<string, unknown>, where);
  }

  /** The raw value; absent and null alike are undefined unless `has` distinguishes them. */
  raw(name: string): unknown {
    return (Object.hasOwn(this.fields, name) ? this.fields[name] : undefined) ?? undefined;
  }

  /** Whether the field is there, null included. */
  has(name: string): boolean {
    return Object.hasOwn(this.fields, name);
  }

  /** The names of all fields. */
  get names(): string[] {
    return Object.keys(this.fields);
  }

  /** A field by its file and dotted path, for messages. */
  at(name: string): string {
    return `${this.where}.${name}`;
  }

  /** A sub-object. Throws `ConfigError` when it is absent. */
  object(name: string): ConfigFields {
    return ConfigFields.of(this.raw(name), `${this.where}.${name}`);
  }

  /** A sub-object, or null when it is absent. */
  optionalObject(name: string): ConfigFields | null {
    return this.raw(name) === undefined ? null : this.object(name);
  }

  /** A whole number in [min, max]; without a fallback it must be there. */
  integer(name: string, fallback?: number, min = 1, max = 2 ** 31 - 1): number {
    const value = this.number(name, fallback);
    if (!Number.isSafeInteger(value) || value < min || value > max) {
      this.refuse(name, `a whole number in [${min}, ${max}]`);
    }
    return value;
  }

  /** A finite number; without a fallback it must be there. */
  finite(name: string, fallback?: number): number {
    return this.number(name, fallback);
  }

  /** A finite number above 0; without a fallback it must be there. */
  positive(name: string, fallback?: number): number {
    const value = this.number(name, fallback);
    if (!(value > 0)) this.refuse(name, "a number above 0");
    return value;
  }

  /** A finite number above 0, or null: the field's own null, or `fallback` when the field is absent. */
  positiveOrNull(name: string, fallback: number | null): number | null {
    if (!this.has(name)) return fallback;
    return this.raw(name) === undefined ? null : this.positive(name);
  }

  /** One of the given words; `fallback` when the field is absent. */
  word<W extends string>(name: string, allowed: readonly W[], fallback?: W): W {
    const value = this.raw(name) ?? fallback;
    if (!allowed.includes(value as W)) this.refuse(name, allowed.map((word) => `"${word}"`).join(" or "));
    return value as W;
  }

  /** True or false; "false" or 0 in place of false is refused. */
  flag(name: string, fallback: boolean): boolean {
    const value = this.raw(name) ?? fallback;
    if (typeof value !== "boolean") this.refuse(name, "true or false");
    return value;
  }

  /** A switch that must be as it is needed where it is there: "false" or 0 in place of false is refused too. */
  fixed(name: string, needed: boolean, why: string): void {
    const value = this.raw(name);
    if (value !== undefined && value !== needed) this.refuse(name, `${needed} (${why})`);
  }

  /** Throws `ConfigError` naming this field, what was expected of it and what it holds. */
  refuse(name: string, expected: string): never {
    throw new ConfigError(`${this.at(name)}: expected ${expected}, received ${describe(this.raw(name))}`);
  }

  private number(name: string, fallback?: number): number {
    const value = this.raw(name) ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value)) this.refuse(name, "a number");
    return value;
  }
}

function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}
