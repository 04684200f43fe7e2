#pragma once
// The methods by which models are merged, and the numbers that a merge takes.  Names and meanings
// are mergekit's where it has the method (weight, density, lambda, normalize, rescale, epsilon,
// gamma, t), so that a recipe means the same there.  With x_k the sources, b the base, w_k the
// weights and S the sparsifier, per tensor:
//
//   linear            sum w_k x_k, divided by sum w_k when `normalize`
//   slerp             spherical interpolation between two sources at t (0: the first), in doubles;
//                     linear where they are almost parallel (|cosine| > 0.9995)
//   task_arithmetic   b + lambda D, D = sum w_k (x_k - b), divided by sum w_k when `normalize`
//                     (Ilharco et al., arXiv 2212.04089)
//   ties              D = sum over the k whose w_k d_k has the sign of sum w_k d_k, d_k =
//                     S(x_k - b), divided by their sum of w_k when `normalize`; S keeps the
//                     density's share of largest magnitude (Yadav et al., arXiv 2306.01708)
//   dare_linear/ties  S keeps each element with probability `density` (Yu et al., arXiv 2311.03099)
//   della_linear, della    the same with a probability that rises from density - epsilon to
//                     density + epsilon with the rank of the magnitude within its row (Deep et al.,
//                     arXiv 2406.11617); della elects signs as ties does
//   breadcrumbs, breadcrumbs_ties    S drops the share gamma of largest magnitude and then the
//                     smallest until `density` is left (Davari, Belilovsky, arXiv 2312.06795)
//   fisher            sum w_k f_k x_k / sum w_k f_k per element, f_k the importance file of source
//                     k (Matena, Raffel, arXiv 2111.09832); not in mergekit
//
// Where this departs from mergekit:
//   - arithmetic is float (double for norms and products over a tensor) whatever is stored, with
//     one rounding at the end; mergekit computes in the stored dtype;
//   - of equal magnitudes the ones that come first in the tensor are kept, where mergekit's order
//     is unspecified; a density above 0 keeps at least one element, a density of 0 none;
//   - random masks are counter-based (Philox): they depend on the seed, the source's number, the
//     tensor's name and the element, on nothing else, and a larger density keeps what a smaller one
//     kept;
//   - `rescale` has three values: none; expected, the papers' division by the probability of
//     keeping; l1, mergekit's restoring of the tensor's sum of magnitudes.  True is l1;
//   - breadcrumbs with gamma so small that nothing is dropped at the top drops nothing there;
//   - a row for della is one index of the first dimension; a tensor of one dimension is one row.
//
// Plain values and pure functions; any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "optimizers/core/result.hpp"

namespace paretod {

enum class MergeMethod {
  linear,
  slerp,
  task_arithmetic,
  ties,
  dare_linear,
  dare_ties,
  della_linear,
  della,
  breadcrumbs,
  breadcrumbs_ties,
  fisher,
};

std::string_view name_of(MergeMethod method);
std::optional<MergeMethod> merge_method(std::string_view name);
/// "linear, slerp, ..."
std::string merge_method_names();

enum class Sparsifier { none, magnitude, random, della, breadcrumbs };
enum class Rescale { none, expected, l1 };

std::string_view name_of(Rescale rescale);
std::optional<Rescale> rescale_named(std::string_view name);

/// What a method is made of.
struct MergeTraits {
  bool uses_base = false;  ///< merges what the sources add to a base
  bool elects_sign = false;
  Sparsifier sparsifier = Sparsifier::none;
  bool normalize = false;           ///< unless the recipe says otherwise
  Rescale rescale = Rescale::none;  ///< likewise
  bool in_mergekit = true;
};
MergeTraits traits_of(MergeMethod method);

/// Chooses tensors by name.
struct TensorPattern {
  enum class Kind {
    prefix,    ///< the name begins with it
    contains,  ///< mergekit's filter
    regex,     ///< ECMAScript; matches some part of the name
  };
  Kind kind = Kind::contains;
  std::string text;
};

/// Tensors with coefficients of their own: those that any pattern chooses.
struct TensorGroup {
  std::string name;
  std::vector<TensorPattern> patterns;
};

/// What all candidates of a search have in common.
struct MergeRule {
  MergeMethod method = MergeMethod::linear;
  bool normalize = true;
  Rescale rescale = Rescale::none;
  double epsilon = 0.15;  ///< della
  double gamma = 0.01;    ///< breadcrumbs
  /// A tensor belongs to the first group that chooses it, the others to one more, unnamed group.
  std::vector<TensorGroup> groups;

  /// With the method's own normalize and rescale.
  static MergeRule of(MergeMethod method);
  /// groups.size() + 1: the last is that of all other tensors.
  [[nodiscard]] std::size_t group_count() const { return groups.size() + 1; }
};

/// The numbers of one candidate for one group of tensors.
struct GroupCoefficients {
  std::vector<double> weights;    ///< one per source; not used by slerp
  std::vector<double> densities;  ///< one per source, 0 to 1; used where there is a sparsifier
  double lambda = 1;              ///< used where there is a base
  double t = 0.5;                 ///< slerp
};

struct MergeCandidate {
  std::vector<GroupCoefficients> groups;  ///< rule.group_count() of them
  std::uint64_t seed = 0;                 ///< of random masks
};

/// Why the candidate cannot be merged by the rule from so many sources: a wrong number of
/// coefficients, one that is not finite or out of range, weights that sum to 0 where they are
/// divided by their sum.  Pointers below "": "/groups/0/weights/1".
Problems check_candidate(const MergeRule& rule, std::size_t sources,
                         const MergeCandidate& candidate);

}  // namespace paretod
