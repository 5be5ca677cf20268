"""Light in the shading kernel: shadow map, ambient, wrapped diffuse and highlights."""

import warp as wp

from lib.faces.look import Look

SHADOW_SIZE = 96
SHADOW_REACH = 2.2  # decimetres around the head that the shadow map covers


@wp.func
def lit(look: Look, p: wp.vec3, n: wp.vec3, shadow: wp.array3d(dtype=wp.int64), b: int) -> float:
    """Share of the key light that arrives, in [0,1]: four taps of the shadow map."""
    d = p + 0.06 * n - look.shadow_centre  # off the surface, or it would shadow itself at grazing light
    size = float(SHADOW_SIZE)
    u = size * (0.5 + 0.5 * wp.dot(d, look.shadow_across) / SHADOW_REACH) - 0.5
    v = size * (0.5 - 0.5 * wp.dot(d, look.shadow_up) / SHADOW_REACH) - 0.5
    depth = 8.0 + wp.dot(d, look.key_direction) + 0.03
    x = int(wp.floor(u))
    y = int(wp.floor(v))
    if x < 0 or y < 0 or x >= SHADOW_SIZE - 1 or y >= SHADOW_SIZE - 1:
        return 1.0
    fx = u - float(x)
    fy = v - float(y)
    total = float(0.0)
    for j in range(2):
        for i in range(2):
            key = shadow[b, y + j, x + i]
            near = wp.cast(wp.int32(key >> wp.int64(32)), wp.float32)
            weight = (float(i) * fx + float(1 - i) * (1.0 - fx)) * (float(j) * fy + float(1 - j) * (1.0 - fy))
            if depth > near:
                total += weight
    return total


@wp.func
def ambient(look: Look, n: wp.vec3) -> wp.vec3:
    up = 0.5 + 0.5 * n[1]
    return look.ground * (1.0 - up) + look.sky * up


@wp.func
def glint(n: wp.vec3, light: wp.vec3, view: wp.vec3, doublings: int) -> float:
    """Blinn-Phong highlight with exponent 2**doublings."""
    x = wp.max(wp.dot(n, wp.normalize(light + view)), 0.0)
    for i in range(doublings):
        x = x * x
    return x


@wp.func
def wrap(n: wp.vec3, light: wp.vec3, soft: wp.vec3) -> wp.vec3:
    """Diffuse light that bleeds past the terminator, more so in red: the cheap look of light under the skin."""
    d = wp.dot(n, light)
    return wp.vec3(wp.max((d + soft[0]) / (1.0 + soft[0]), 0.0), wp.max((d + soft[1]) / (1.0 + soft[1]), 0.0),
                   wp.max((d + soft[2]) / (1.0 + soft[2]), 0.0))
