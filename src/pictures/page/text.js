/**
 * The text with what cannot be seen, or would reorder its neighbours, spelt out: a newline as ↵, a tab as ⇥, other
 * controls, direction marks, lone surrogates and line separators as \u and four digits.
 * @param {string} text
 */
export function visibleText(text) {
  return text
    .replaceAll("\n", "↵")
    .replaceAll("\t", "⇥")
    .replace(UNSEEN, (sign) => `\\u${sign.codePointAt(0)?.toString(16).padStart(4, "0")}`);
}

const UNSEEN = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Noncharacter_Code_Point}]/gu;

/**
 * Visible text of at most `count` characters; a longer one ends with an ellipsis.
 * @param {string} text
 * @param {number} count
 */
export function shortText(text, count) {
  const characters = [...visibleText(text)];
  return characters.length <= count ? characters.join("") : `${characters.slice(0, Math.max(count - 1, 0)).join("")}…`;
}

/**
 * A number in at most three significant digits: 0.412, 17, 3.1e-5.
 * @param {number} value
 */
export function numberText(value) {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

/**
 * Words as the beginning of a sentence.
 * @param {string} words
 */
export function sentence(words) {
  return `${words.slice(0, 1).toUpperCase()}${words.slice(1)}`;
}
