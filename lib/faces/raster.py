"""Geometry and visibility in Warp kernels: blend shapes, normals, shells, pose, projection, and a visibility buffer.

A launch handles a batch of images. Every kernel computes each output from its own inputs in a fixed order (the
visibility buffer takes a maximum of 64-bit keys, which does not depend on order), so the bytes depend neither on the
batch nor on the device's scheduling. Warp runs CPU kernels on one thread.
"""

import warp as wp

wp.config.log_level = wp.LOG_WARNING  # Warp greets in each process and reports each kernel it loads
wp.set_module_options({"enable_backward": False})  # no gradients: half the compile time

TILE = 256  # side of the noise pictures, a power of two
EYE = wp.constant(2)  # kind of the eyeballs
EYE_DEPTH = wp.constant(0.06)  # decimetres that eyeballs lie deeper, so that none shows through a lid


@wp.func
def noise(pictures: wp.array3d(dtype=float), which: int, u: float, v: float) -> float:
    """A noise picture at (u, v) in tiles, bilinear, repeating; values in [0,1]."""
    x = (u - wp.floor(u)) * float(TILE)
    y = (v - wp.floor(v)) * float(TILE)
    x0 = int(x)
    y0 = int(y)
    fx = x - float(x0)
    fy = y - float(y0)
    x0 = x0 & (TILE - 1)
    y0 = y0 & (TILE - 1)
    x1 = (x0 + 1) & (TILE - 1)
    y1 = (y0 + 1) & (TILE - 1)
    top = pictures[which, y0, x0] * (1.0 - fx) + pictures[which, y0, x1] * fx
    low = pictures[which, y1, x0] * (1.0 - fx) + pictures[which, y1, x1] * fx
    return top * (1.0 - fy) + low * fy


@wp.kernel
def blend(rest: wp.array2d(dtype=wp.vec3), person: wp.array(dtype=int), weights: wp.array2d(dtype=float),
          starts: wp.array(dtype=int), action: wp.array(dtype=int), delta: wp.array(dtype=wp.vec3),
          out: wp.array2d(dtype=wp.vec3)):
    """Rest vertices of the image's person plus its facial actions; vertices past the table have no actions."""
    b, v = wp.tid()
    p = rest[person[b], v]
    if v < starts.shape[0] - 1:
        for k in range(starts[v], starts[v + 1]):
            p += weights[b, action[k]] * delta[k]
    out[b, v] = p


@wp.kernel
def normals(vertices: wp.array2d(dtype=wp.vec3), triangles: wp.array2d(dtype=int), starts: wp.array(dtype=int),
            around: wp.array(dtype=int), first: int, out: wp.array2d(dtype=wp.vec3)):
    """Area-weighted unit normals, gathered from the triangles around each vertex."""
    b, i = wp.tid()
    v = first + i
    n = wp.vec3(0.0, 0.0, 0.0)
    for k in range(starts[v], starts[v + 1]):
        t = around[k]
        p = vertices[b, triangles[t, 0]]
        n += wp.cross(vertices[b, triangles[t, 1]] - p, vertices[b, triangles[t, 2]] - p)
    out[b, v] = wp.normalize(n)


@wp.kernel
def extrude(source: wp.array2d(dtype=int), person: wp.array(dtype=int), offset: wp.array2d(dtype=wp.vec4), first: int,
            vertices: wp.array2d(dtype=wp.vec3), normal: wp.array2d(dtype=wp.vec3)):
    """Shell vertices: a skin vertex, or the rounded middle of two, moved along the normal (w) and by a vector (xyz).

    The middle is pulled towards the tangent planes of both ends (Boubekeur and Alexa, Phong Tessellation, 2008).
    """
    b, i = wp.tid()
    p = vertices[b, source[i, 0]]
    q = vertices[b, source[i, 1]]
    n = normal[b, source[i, 0]]
    m = normal[b, source[i, 1]]
    middle = 0.5 * (p + q)
    middle -= 0.375 * (wp.dot(middle - p, n) * n + wp.dot(middle - q, m) * m)
    o = offset[person[b], i]
    vertices[b, first + i] = middle + o[3] * wp.normalize(n + m) + wp.vec3(o[0], o[1], o[2])


@wp.kernel
def place(vertices: wp.array2d(dtype=wp.vec3), normal: wp.array2d(dtype=wp.vec3), head_share: wp.array(dtype=float),
          head: wp.array(dtype=wp.quat), torso: wp.array(dtype=wp.quat), pivot: wp.vec3,
          shift: wp.array(dtype=wp.vec3)):
    """Turn head and torso about the neck; the neck blends between the two. Then move into the camera's frame."""
    b, v = wp.tid()
    turn = head[b]
    if head_share[v] < 1.0:
        turn = wp.quat_slerp(torso[b], head[b], head_share[v])
    vertices[b, v] = wp.quat_rotate(turn, vertices[b, v] - pivot) + shift[b]
    normal[b, v] = wp.quat_rotate(turn, normal[b, v])


@wp.kernel
def project(vertices: wp.array2d(dtype=wp.vec3), focal: wp.array(dtype=float), size: float,
            out: wp.array2d(dtype=wp.vec3)):
    """Pinhole camera at the origin that looks along -z: (column, row, 1 / depth) in pixels."""
    b, v = wp.tid()
    p = vertices[b, v]
    near = 1.0 / wp.max(-p[2], 0.1)
    out[b, v] = wp.vec3(size * (0.5 + focal[b] * p[0] * near), size * (0.5 - focal[b] * p[1] * near), near)


@wp.kernel
def project_light(vertices: wp.array2d(dtype=wp.vec3), across: wp.array(dtype=wp.vec3), up: wp.array(dtype=wp.vec3),
                  toward: wp.array(dtype=wp.vec3), centre: wp.array(dtype=wp.vec3), reach: float, size: float,
                  out: wp.array2d(dtype=wp.vec3)):
    """Parallel projection along the key light; the third number grows towards the light and is positive."""
    b, v = wp.tid()
    p = vertices[b, v] - centre[b]
    out[b, v] = wp.vec3(size * (0.5 + 0.5 * wp.dot(p, across[b]) / reach),
                        size * (0.5 - 0.5 * wp.dot(p, up[b]) / reach),
                        8.0 + wp.dot(p, toward[b]))


@wp.func
def edge(a: wp.vec3, b: wp.vec3, x: float, y: float) -> float:
    return (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])


@wp.kernel
def visibility(screen: wp.array2d(dtype=wp.vec3), triangles: wp.array2d(dtype=int), kind: wp.array(dtype=int),
               shown: wp.array2d(dtype=int), two_sided: wp.array(dtype=int), cover: wp.array2d(dtype=float),
               person: wp.array(dtype=int), strand: wp.array(dtype=wp.vec2), pictures: wp.array3d(dtype=float),
               size: int, keys: wp.array3d(dtype=wp.int64)):
    """For each pixel the nearest triangle: the maximum of (bits of 1/depth, triangle).

    ``shown[image, kind]`` is 0 for a kind the image lacks, 1 for solid; 2 and 3 for a shell whose pixels count only
    where its coverage plus noise exceeds 1/2: noise of strands (2), as of a fringe, or fine grain (3),
    as of short hair.
    """
    b, t = wp.tid()
    how = shown[b, kind[t]]
    if how == 0:
        return
    ia = triangles[t, 0]
    ib = triangles[t, 1]
    ic = triangles[t, 2]
    p = screen[b, ia]
    q = screen[b, ib]
    r = screen[b, ic]
    area = edge(p, q, r[0], r[1])
    if area > -1.0e-7:  # rows grow downwards, so what faces the camera has a negative area
        if two_sided[kind[t]] == 0 or area < 1.0e-7:
            return
    ca = float(1.0)
    cb = float(1.0)
    cc = float(1.0)
    if how >= 2:
        ca = cover[person[b], ia]
        cb = cover[person[b], ib]
        cc = cover[person[b], ic]
        if ca < -0.5 and cb < -0.5 and cc < -0.5:
            return
    inverse = 1.0 / area
    left = wp.max(int(wp.ceil(wp.min(wp.min(p[0], q[0]), r[0]) - 0.5)), 0)
    right = wp.min(int(wp.floor(wp.max(wp.max(p[0], q[0]), r[0]) - 0.5)), size - 1)
    top = wp.max(int(wp.ceil(wp.min(wp.min(p[1], q[1]), r[1]) - 0.5)), 0)
    low = wp.min(int(wp.floor(wp.max(wp.max(p[1], q[1]), r[1]) - 0.5)), size - 1)
    for y in range(top, low + 1):
        for x in range(left, right + 1):
            px = float(x) + 0.5
            py = float(y) + 0.5
            wa = edge(q, r, px, py) * inverse
            wb = edge(r, p, px, py) * inverse
            wc = 1.0 - wa - wb
            if wa >= 0.0 and wb >= 0.0 and wc >= 0.0:
                near = wa * p[2] + wb * q[2] + wc * r[2]
                solid = bool(True)
                if how >= 2:
                    c = wa * ca + wb * cb + wc * cc
                    if c < 0.5:
                        at = wa * strand[ia] + wb * strand[ib] + wc * strand[ic]
                        if how == 2:
                            solid = c + noise(pictures, 1, at[0], at[1]) > 0.5
                        else:
                            solid = c + 0.25 * noise(pictures, 1, at[0], at[1]) + 0.75 * noise(
                                pictures, 2, at[0] * 4.0, at[1] * 20.0) > 0.5
                if solid:
                    if kind[t] == EYE:
                        near = near / (1.0 + EYE_DEPTH * near)
                    bits = wp.int64(wp.cast(near, wp.int32))
                    wp.atomic_max(keys, b, y, x, (bits << wp.int64(32)) | wp.int64(t))
