#pragma once
// Functions of the BBOB family (Hansen et al., Real-parameter black-box optimization benchmarking
// 2009: noiseless functions definitions, INRIA RR-6829), each shifted and rotated by numbers drawn
// from a seed, with the value 0 at the optimum, which lies in [-4, 4]^n.  A shared library with a C
// interface, so that a peer in Python is measured on the same instances.

extern "C" {
unsigned bbob_count();
const char* bbob_name(unsigned function);
/// n >= 2.  The caller frees.
void* bbob_make(unsigned function, unsigned n, unsigned long long seed);
double bbob_value(const void* instance, const double* x);
void bbob_free(void* instance);
}
