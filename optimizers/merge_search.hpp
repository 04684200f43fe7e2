#pragma once
// The search of Evo-Merging: CMA-ES over some of the coordinates of a merge, each generation scored
// on examples of its own choice (MergeExamples).  Scores are compared only where they are of the
// same examples.  A trial without a result is missing, never bad: it is asked for once more, then
// another sample takes its place, and a generation of which fewer than 60 % return is abandoned.
//
// Unless there is a `barrier`, free slots draw for the next generation while the last trials of one
// are evaluated.  With one slot that never happens.
// Lives on the thread of the run.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "optimizers/cma_es.hpp"
#include "optimizers/core/optimizer.hpp"
#include "optimizers/fold.hpp"
#include "optimizers/merge_genes.hpp"

namespace paretod {

/// Splits of the data, and blocks of them: replicate = split + splits * block.  Of a split of n
/// examples, block b of k examples begins at b * k modulo n and wraps around; 0 examples are all.
constexpr std::uint64_t splits = 3;
constexpr std::uint64_t search_split = 0, select_split = 1, report_split = 2;

/// What a generation is scored on.
struct MergeExamples {
  std::uint64_t full = 0;   ///< examples; 0: all
  std::uint64_t block = 0;  ///< which of them
  /// A race: all get so many, the first of the block, the best `finish` get `full`; 0: none.  In
  /// blocks but the first, a divisor of `full`.
  std::uint64_t first = 0;
  std::size_t finish = 0;
};

struct MergeStage {
  std::vector<std::size_t> coordinates;  ///< what is searched
  Point origin;                          ///< where it begins, and what everything else stays at
  /// To go on from instead, as distribution() gave it of a stage with the same coordinates.
  std::optional<CmaEs> distribution = std::nullopt;
  double sigma = 0.05;
  std::vector<double> deviations = {};  ///< of the coordinates, in units of sigma; empty: 1 each
  double least_sigma = 0;
  std::size_t population = 20;
  std::size_t generations = 0;
  std::uint64_t reserve = 0;  ///< trials to leave to others
  bool negative = true;       ///< betas below zero
  bool diagonal = false;      ///< learn a diagonal covariance
  bool active = true;         ///< learn from the worse half too
  bool barrier = false;
  bool redraw = false;  ///< what lies beyond the bounds, before it is folded back
  std::function<MergeExamples(std::size_t generation)> examples;
};

class MergeSearch {
 public:
  using Objectives = std::vector<double>;
  /// `score`: what to minimise, of a point and its objectives.  References outlive this.
  MergeSearch(const SearchProblem& problem, const MergeGenes& genes,
              std::function<double(const Point&, const Objectives&)> score,
              Evaluations& evaluations);

  /// Requires in_flight() == 0, and leaves it so.  Throws Stagnated, once, when told so.
  void run(const MergeStage& stage);

  struct Measured {
    Point point;
    Objectives objectives;
  };
  /// Distinct merges, of the last stage or of all, that were scored on the most examples.
  [[nodiscard]] std::vector<Measured> measured(bool last_stage) const;
  /// Of the last stage: the best of those, best first.
  [[nodiscard]] std::vector<Point> best(std::size_t count) const;
  /// Of the last stage: the mean of its distribution; none if it never learnt anything.
  [[nodiscard]] const std::optional<Point>& mean() const { return mean_; }
  /// Of the last stage: the average of those means over the last three tenths of its generations.
  [[nodiscard]] const std::optional<Point>& average() const { return average_; }
  /// Of the last stage, as it is now.  Requires a stage.
  [[nodiscard]] const CmaEs& distribution() const { return *core_; }
  /// The last stage was given up because evaluations do not return.
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  struct Sample {
    std::vector<double> latent;
    Point point;
    MergeGenes::Key key;
    std::size_t epoch = 0;       ///< the generation whose distribution it is of
    std::size_t generation = 0;  ///< the one that it takes part in: that, or the next
    bool asked_again = false;
    bool promoted = false;
    std::optional<double> first = std::nullopt, full = std::nullopt;
  };
  struct Work {
    std::size_t sample;
    bool full;  ///< on MergeExamples::full, else on the first of a race
  };
  /// Examples, the most where all are meant, and their block.
  using Size = std::pair<std::uint64_t, std::uint64_t>;
  struct Entry {
    Point point;
    std::size_t stage = 0;  ///< the last that asked for it
    std::map<Size, Objectives> outcomes;
  };

  void begin(const MergeStage& stage);
  /// The generation that wants a sample.
  [[nodiscard]] std::optional<std::size_t> wanting() const;
  void draw(std::size_t generation);
  void submit(const Work& work);
  void receive(const Trial& trial);
  void take_in(std::size_t sample, bool full, double score);
  void miss(std::size_t sample);
  void abandon();
  void advance();
  void promote();
  void learn();
  static Size size_of(std::uint64_t examples, std::uint64_t replicate);
  [[nodiscard]] Candidate candidate(const Work& work) const;
  [[nodiscard]] std::optional<double> known(const Work& work) const;
  [[nodiscard]] Point point_of(const std::vector<double>& latent) const;

  const SearchProblem& problem_;
  const MergeGenes& genes_;
  const std::function<double(const Point&, const Objectives&)> score_;
  Evaluations& evaluations_;
  std::map<MergeGenes::Key, Entry> archive_;
  std::uint64_t drawn_ = 0;
  std::size_t stages_ = 0;

  // Of the stage that runs, or ran last.
  const MergeStage* stage_ = nullptr;
  std::vector<Fold> folds_;
  std::optional<CmaEs> core_;
  std::optional<Point> mean_, average_;
  std::vector<double> late_means_;  ///< their sum, in latent coordinates
  std::size_t late_ = 0;            ///< how many
  std::vector<double> shift_;       ///< of the distribution's mean, by the last generation
  std::size_t generation_ = 0, abandoned_ = 0;
  bool ended_ = false, failed_ = false;
  bool racing_ = false;  ///< the batch is complete, and some of it may be finishing
  std::map<std::size_t, Sample> samples_;  ///< by number: those that still matter
  std::deque<Work> queue_;
  std::map<TrialNumber, Work> asked_;
  std::vector<std::size_t> batch_;     ///< of this generation: those with a first score
  std::vector<std::size_t> waiting_;   ///< the same of the next
  std::array<std::size_t, 2> have_{};  ///< samples of this and the next generation, not missing
  std::array<bool, 2> fresh_{};        ///< something of them had to be evaluated
  std::size_t finishing_ = 0;          ///< of the batch: asked for their full score
  std::size_t missing_ = 0;            ///< since the last generation
};

}  // namespace paretod
