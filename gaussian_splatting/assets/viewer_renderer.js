// Draws the sorted Gaussians from far to near; the sorting runs beside it and may be a frame late.

class Renderer {
  constructor(canvas, splats, sorterSource, onSorted) {
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, preserveDrawingBuffer: true });
    if (!gl) throw new Error("this browser has no WebGL 2");
    this.gl = gl;
    this.canvas = canvas;
    this.number = splats.number;
    this.sortedForward = null;
    this.isSorting = false;
    this.isSorted = false;
    this.program = this.link(VERTEX_SHADER, FRAGMENT_SHADER);
    this.uniforms = new Proxy({}, { get: (_, name) => gl.getUniformLocation(this.program, name) });
    gl.useProgram(this.program);
    this.upload(splats);
    this.makeSquares();
    this.worker = new Worker(URL.createObjectURL(new Blob([sorterSource], { type: "text/javascript" })));
    this.worker.onmessage = (event) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.orderBuffer);
      gl.bufferSubData(gl.ARRAY_BUFFER, 0, event.data.order);
      this.isSorting = false;
      this.isSorted = true;
      onSorted();
    };
    this.worker.postMessage({ positions: splats.positions });
  }

  link(vertexSource, fragmentSource) {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertexSource], [gl.FRAGMENT_SHADER, fragmentSource]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    return program;
  }

  texture(unit, name, width, height, internal, type, data) {
    const gl = this.gl;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texImage2D(gl.TEXTURE_2D, 0, internal, width, height, 0, gl.RGBA_INTEGER, type, data);
    gl.uniform1i(this.uniforms[name], unit);
  }

  upload(splats) {
    const gl = this.gl, { words, rows } = packForGpu(splats);
    const largest = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    if (rows > largest) throw new Error(`this graphics card shows up to ${1024 * largest} Gaussians`);
    this.texture(0, "splats", 3072, rows, gl.RGBA32UI, gl.UNSIGNED_INT, words);
    const shown = splats.numRest > 15 ? 15 : splats.numRest;
    const width = 2048, height = Math.max(1, Math.ceil((shown * splats.number) / width));
    const fits = height <= largest, texels = new Uint8Array(4 * width * (fits ? height : 1));
    for (let i = 0, out = 0; fits && i < splats.number; i++) {
      for (let k = 0, from = 3 * splats.numRest * i; k < shown; k++, from += 3, out += 4) {
        texels.set(splats.harmonics.subarray(from, from + 3), out);
      }
    }
    this.texture(1, "harmonics", width, fits ? height : 1, gl.RGBA8UI, gl.UNSIGNED_BYTE, texels);
    gl.uniform1i(this.uniforms.numRest, fits ? shown : 0);
    gl.uniform1i(this.uniforms.harmonicsWidth, width);
  }

  makeSquares() {
    const gl = this.gl;
    const attribute = (name, data, size, isInteger, usage) => {
      const buffer = gl.createBuffer(), place = gl.getAttribLocation(this.program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, data, usage);
      gl.enableVertexAttribArray(place);
      if (isInteger) {
        gl.vertexAttribIPointer(place, size, gl.UNSIGNED_INT, 0, 0);
        gl.vertexAttribDivisor(place, 1);
      } else {
        gl.vertexAttribPointer(place, size, gl.FLOAT, false, 0, 0);
      }
      return buffer;
    };
    attribute("corner", new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), 2, false, gl.STATIC_DRAW);
    this.orderBuffer = attribute("index", new Uint32Array(this.number), 1, true, gl.DYNAMIC_DRAW);
    gl.disable(gl.DEPTH_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  sort(forward) {
    const before = this.sortedForward;
    if (this.isSorting || (before && forward.every((value, axis) => Math.abs(value - before[axis]) < 1e-3))) return;
    this.isSorting = true;
    this.sortedForward = forward.slice();
    this.worker.postMessage({ forward });
  }

  draw(camera, background, antialiased) {
    const gl = this.gl, { width, height } = this.canvas;
    const { right, down, forward, centre, focal } = camera;
    this.sort(forward);
    gl.viewport(0, 0, width, height);
    gl.clearColor(...background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!this.isSorted) return;
    const columns = [0, 1, 2].flatMap((axis) => [right[axis], down[axis], forward[axis]]);
    gl.uniformMatrix3fv(this.uniforms.cameraFromWorld, false, columns);
    gl.uniform3fv(this.uniforms.cameraCentre, centre);
    gl.uniform2f(this.uniforms.focal, focal, focal);
    gl.uniform2f(this.uniforms.size, width, height);
    gl.uniform1i(this.uniforms.antialiased, antialiased ? 1 : 0);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.number);
  }
}
