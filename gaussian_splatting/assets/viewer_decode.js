// The page carries an SPZ file of version 3 in base64: gzip around small integers, attribute by attribute.

async function unpackSplats(base64) {
  const text = atob(base64.trim());
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return decodeSplats(await new Response(stream).arrayBuffer());
}

function decodeSplats(buffer) {
  const header = new DataView(buffer, 0, 16);
  const number = header.getUint32(8, true), degree = header.getUint8(12), fraction = header.getUint8(13);
  const numRest = (degree + 1) ** 2 - 1;
  let place = 16;
  const take = (size) => new Uint8Array(buffer, (place += size) - size, size);
  const stored = {
    positions: take(9 * number), opacities: take(number), colours: take(3 * number), scales: take(3 * number),
    rotations: take(4 * number), harmonics: take(3 * numRest * number),
  };
  return { ...stored, number, numRest, positions: decodePositions(stored.positions, 1 / 2 ** fraction) };
}

// In the file y points up and z back; here y points down and z forward.
function decodePositions(bytes, step) {
  const positions = new Float32Array(bytes.length / 3);
  for (let i = 0, j = 0; i < positions.length; i++, j += 3) {
    const fixed = bytes[j] | (bytes[j + 1] << 8) | ((bytes[j + 2] << 24) >> 8);
    positions[i] = fixed * step * (i % 3 === 0 ? 1 : -1);
  }
  return positions;
}

// Twelve words for each Gaussian: position, colour and opacity, the upper triangle of its covariance, two spare.
function packForGpu(splats) {
  const { number, positions, rotations, scales, colours, opacities } = splats;
  const rows = Math.ceil((3 * number) / 3072);
  const words = new Uint32Array(3072 * rows * 4), floats = new Float32Array(words.buffer);
  const q = new Float32Array(4);
  for (let i = 0; i < number; i++) {
    const out = 12 * i;
    floats.set(positions.subarray(3 * i, 3 * i + 3), out);
    words[out + 3] = colours[3 * i] | (colours[3 * i + 1] << 8) | (colours[3 * i + 2] << 16) | (opacities[i] << 24);
    decodeQuaternion(rotations, 4 * i, q);
    writeCovariance(floats, out + 4, q, scales, 3 * i);
  }
  return { words, rows };
}

function decodeQuaternion(bytes, place, q) {  // x y z w
  let word = (bytes[place] | (bytes[place + 1] << 8) | (bytes[place + 2] << 16) | (bytes[place + 3] << 24)) >>> 0;
  const largest = word >>> 30;
  let rest = 1;
  for (let part = 3; part >= 0; part--) {
    if (part === largest) continue;
    const value = ((word & 511) / 511) * Math.SQRT1_2 * (word & 512 ? -1 : 1);
    q[part] = value;
    rest -= value * value;
    word >>>= 10;
  }
  q[largest] = Math.sqrt(Math.max(rest, 0));
  q[1] = -q[1];
  q[2] = -q[2];
}

function writeCovariance(out, place, [x, y, z, w], scales, first) {
  const s = [0, 1, 2].map((axis) => Math.exp(scales[first + axis] / 16 - 10));
  const m = [
    (1 - 2 * (y * y + z * z)) * s[0], 2 * (x * y - w * z) * s[1], 2 * (x * z + w * y) * s[2],
    2 * (x * y + w * z) * s[0], (1 - 2 * (x * x + z * z)) * s[1], 2 * (y * z - w * x) * s[2],
    2 * (x * z - w * y) * s[0], 2 * (y * z + w * x) * s[1], (1 - 2 * (x * x + y * y)) * s[2],
  ];
  let k = place;
  for (let i = 0; i < 3; i++) {
    for (let j = i; j < 3; j++) {
      out[k++] = m[3 * i] * m[3 * j] + m[3 * i + 1] * m[3 * j + 1] + m[3 * i + 2] * m[3 * j + 2];
    }
  }
}
