"use strict";
// Figures as the terminal prints them (tstorch/report/units.py): what is not known says so, no time is printed as 0.

const threeDigits = (value) =>
  value >= 99.95 ? Math.round(value).toLocaleString("en-US") : value >= 9.995 ? value.toFixed(1) : value.toFixed(2);

function timeText(us) {
  if (us === null || us === undefined) return "untimed";
  const size = Math.abs(us), sign = us < 0 ? "-" : "";
  if (size < 1) return "< 1 us";
  if (size < 999.5) return `${sign}${threeDigits(size)} us`;
  return size < 999_500 ? `${sign}${threeDigits(size / 1e3)} ms` : `${sign}${threeDigits(size / 1e6)} s`;
}

function bytesText(size) {
  if (size === null || size === undefined) return "unknown";
  if (size < 1024) return `${size} B`;
  for (const unit of ["KiB", "MiB", "GiB"]) {
    size /= 1024;
    if (size < 1024 || unit === "GiB") return `${threeDigits(size)} ${unit}`;
  }
}

function countText(amount, unit) {
  if (amount === null || amount === undefined) return "unknown";
  for (const [divisor, prefix] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (amount >= divisor) return `${threeDigits(amount / divisor)} ${prefix}${unit}`;
  return `${amount.toFixed(0)} ${unit}`;
}

function shareText(part, whole = 1) {
  if (part === null || part === undefined || !whole) return "-";
  const percent = (100 * part) / whole;
  return percent > 0 && percent < 0.5 ? "< 1 %" : `${Math.round(percent)} %`;
}

const few = (names, limit = 3) =>
  names.length <= limit ? names.join(", ") : `${names.slice(0, limit).join(", ")} and ${names.length - limit} more`;

// The sum, or null where one of them is not known.
const total = (values) => (values.length && values.every((v) => v !== null) ? values.reduce((a, b) => a + b, 0) : null);
