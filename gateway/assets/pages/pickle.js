// Arguments as a pickle: what JSON can say, and nothing that runs when it is loaded.

/** `(tuple(args), kwargs)` in base64. */
export function pickled(args, kwargs) {
  const out = [0x80, 4];
  const u32 = value => { for (let n = 0; n < 4; n++) out.push((value >>> (8 * n)) & 0xff); };
  const write = value => {
    if (value === null) out.push(0x4e);
    else if (value === true || value === false) out.push(value ? 0x88 : 0x89);
    else if (typeof value === "string") {
      const text = new TextEncoder().encode(value);
      out.push(0x58); u32(text.length); out.push(...text);
    } else if (Number.isInteger(value) && Math.abs(value) < 2 ** 31) { out.push(0x4a); u32(value); }
    else if (Number.isSafeInteger(value)) {
      const view = new DataView(new ArrayBuffer(8));
      view.setBigInt64(0, BigInt(value), true);
      out.push(0x8a, 8, ...new Uint8Array(view.buffer));
    } else if (typeof value === "number") {
      const view = new DataView(new ArrayBuffer(8));
      view.setFloat64(0, value);
      out.push(0x47, ...new Uint8Array(view.buffer));
    } else if (Array.isArray(value)) { out.push(0x5d, 0x28); value.forEach(write); out.push(0x65); }
    else {
      out.push(0x7d, 0x28);
      for (const [name, one] of Object.entries(value)) { write(name); write(one); }
      out.push(0x75);
    }
  };
  out.push(0x28); args.forEach(write); out.push(0x74);
  write(kwargs);
  out.push(0x86, 0x2e);
  return btoa(String.fromCharCode(...out));
}
