"""LLVM IR of small functions that instructions call: flushing, saturating, directed rounding, halves."""

from __future__ import annotations

_PLAIN = """
declare double @tanh(double)

; A subnormal becomes the zero of its sign.
define internal float @flush(float %x) alwaysinline {
  %size = call float @llvm.fabs.f32(float %x)
  %small = fcmp olt float %size, 0x3810000000000000
  %zero = call float @llvm.copysign.f32(float 0.0, float %x)
  %y = select i1 %small, float %zero, float %x
  ret float %y
}

; Into [0, 1]; NaN and -0 become +0.
define internal float @saturate(float %x) alwaysinline {
  %positive = fcmp ogt float %x, 0.0
  %low = select i1 %positive, float %x, float 0.0
  %high = fcmp ogt float %low, 1.0
  %y = select i1 %high, float 1.0, float %low
  ret float %y
}

define internal double @saturate_f64(double %x) alwaysinline {
  %positive = fcmp ogt double %x, 0.0
  %low = select i1 %positive, double %x, double 0.0
  %high = fcmp ogt double %low, 1.0
  %y = select i1 %high, double 1.0, double %low
  ret double %y
}

; The greatest float that is not above s + e, where e is what s lost when it was rounded to nearest.
define internal float @round_rm(double %s, double %e) alwaysinline {
  %f = fptrunc double %s to float
  %d = fpext float %f to double
  %above = fcmp ogt double %d, %s
  %equal = fcmp oeq double %d, %s
  %negative = fcmp olt double %e, 0.0
  %just = and i1 %equal, %negative
  %over = or i1 %above, %just
  %bits = bitcast float %f to i32
  %up = icmp slt i32 %bits, 0
  %step = select i1 %up, i32 1, i32 -1
  %moved = add i32 %bits, %step
  %zero = fcmp oeq float %f, 0.0
  %next = select i1 %zero, i32 -2147483647, i32 %moved
  %lower = bitcast i32 %next to float
  %y = select i1 %over, float %lower, float %f
  ret float %y
}

define internal float @round_rp(double %s, double %e) alwaysinline {
  %ns = fneg double %s
  %ne = fneg double %e
  %n = call float @round_rm(double %ns, double %ne)
  %y = fneg float %n
  ret float %y
}

define internal float @round_rz(double %s, double %e) alwaysinline {
  %bits = bitcast double %s to i64
  %negative = icmp slt i64 %bits, 0
  %down = call float @round_rm(double %s, double %e)
  %up = call float @round_rp(double %s, double %e)
  %y = select i1 %negative, float %up, float %down
  ret float %y
}

; Towards zero, but with the last bit set if anything was lost: rounding that to fewer bits rounds once.
define internal float @round_odd(double %s, double %e) alwaysinline {
  %f = call float @round_rz(double %s, double %e)
  %d = fpext float %f to double
  %differs = fcmp one double %d, %s
  %lost = fcmp one double %e, 0.0
  %inexact = or i1 %differs, %lost
  %bit = zext i1 %inexact to i32
  %bits = bitcast float %f to i32
  %odd = or i32 %bits, %bit
  %y = bitcast i32 %odd to float
  ret float %y
}

; a * b + c in double, where the product is exact, and what rounding the sum lost.
define internal {double, double} @fma_exact(float %a, float %b, float %c) alwaysinline {
  %da = fpext float %a to double
  %db = fpext float %b to double
  %dc = fpext float %c to double
  %p = fmul double %da, %db
  %s = fadd double %p, %dc
  %pp = fsub double %s, %dc
  %cc = fsub double %s, %pp
  %ep = fsub double %p, %pp
  %ec = fsub double %dc, %cc
  %e = fadd double %ep, %ec
  %r0 = insertvalue {double, double} undef, double %s, 0
  %r1 = insertvalue {double, double} %r0, double %e, 1
  ret {double, double} %r1
}

; An exact sum of zero is -0 when rounding down, unless both terms are +0.
define internal float @fma_rm(float %a, float %b, float %c) alwaysinline {
  %r = call {double, double} @fma_exact(float %a, float %b, float %c)
  %s = extractvalue {double, double} %r, 0
  %e = extractvalue {double, double} %r, 1
  %f = call float @round_rm(double %s, double %e)
  %none = fcmp oeq double %s, 0.0
  %p = fmul float %a, %b
  %pbits = bitcast float %p to i32
  %cbits = bitcast float %c to i32
  %both = or i32 %pbits, %cbits
  %some = icmp ne i32 %both, 0
  %minus = and i1 %none, %some
  %y = select i1 %minus, float -0.0, float %f
  ret float %y
}

define internal float @fma_rp(float %a, float %b, float %c) alwaysinline {
  %na = fneg float %a
  %nc = fneg float %c
  %n = call float @fma_rm(float %na, float %b, float %nc)
  %y = fneg float %n
  ret float %y
}

define internal float @fma_rz(float %a, float %b, float %c) alwaysinline {
  %r = call {double, double} @fma_exact(float %a, float %b, float %c)
  %s = extractvalue {double, double} %r, 0
  %e = extractvalue {double, double} %r, 1
  %y = call float @round_rz(double %s, double %e)
  ret float %y
}

define internal float @fma_odd(float %a, float %b, float %c) alwaysinline {
  %r = call {double, double} @fma_exact(float %a, float %b, float %c)
  %s = extractvalue {double, double} %r, 0
  %e = extractvalue {double, double} %r, 1
  %y = call float @round_odd(double %s, double %e)
  ret float %y
}
"""
_PRODUCTS = "".join(
    f"""
define internal float @mul_{mode}(float %a, float %b) alwaysinline {{
  %da = fpext float %a to double
  %db = fpext float %b to double
  %p = fmul double %da, %db
  %y = call float @round_{mode}(double %p, double 0.0)
  ret float %y
}}
"""
    for mode in ("rz", "rm", "rp")
)
_HALVES = """
define internal i16 @bf16_rn(float %x) alwaysinline {
  %bits = bitcast float %x to i32
  %high = lshr i32 %bits, 16
  %last = and i32 %high, 1
  %bias = add i32 %last, 32767
  %near = add i32 %bits, %bias
  %cut = lshr i32 %near, 16
  %value = trunc i32 %cut to i16
  %nan = fcmp uno float %x, %x
  %y = select i1 %nan, i16 32767, i16 %value
  ret i16 %y
}

define internal i16 @bf16_rz(float %x) alwaysinline {
  %bits = bitcast float %x to i32
  %high = lshr i32 %bits, 16
  %value = trunc i32 %high to i16
  %nan = fcmp uno float %x, %x
  %y = select i1 %nan, i16 32767, i16 %value
  ret i16 %y
}
"""

NUMERICS = _PLAIN + _PRODUCTS + _HALVES
"""All of them."""
