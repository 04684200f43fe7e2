#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <mutex>
#include <optional>
#include <utility>

#include "adapters/safetensors/residency.hpp"
#include "evaluators/diffusion/parallel.hpp"
#include "evaluators/merge/block_merger.hpp"
#include "evaluators/merge/merge_engine.hpp"
#include "evaluators/merge/tensor_statistics.hpp"

namespace paretod {
namespace {

/// Of a batch, unless memory is short.
constexpr std::size_t most_candidates = 16;
constexpr std::size_t most_elements = 4'096;
constexpr std::size_t least_elements = 512;
/// For one candidate in memory, whose row should stay in the innermost cache between being summed
/// and being stored; files are better written in larger pieces.
constexpr std::size_t single_elements = 1'024;
/// For one candidate in memory that needs no row: enough that threads seldom meet.
constexpr std::size_t whole_elements = 32'768;
/// What one worker's rows should take, so that they stay in its cache.
constexpr std::uint64_t cached_bytes = 512 << 10;
/// Mapped pages at a time: enough to read ahead, little enough to be no matter.
constexpr std::uint64_t largest_window = 64 << 20;
constexpr std::uint64_t least_window = 2 << 20;
constexpr std::size_t copied_bytes = 1 << 20;
/// Output of a batch that no cache can hold until it is read.
constexpr std::uint64_t streamed_bytes = 16 << 20;

std::uint64_t machine_memory() {
  std::ifstream info("/proc/meminfo");
  std::string word;
  std::uint64_t kilobytes = 0;
  if (info >> word >> kilobytes && word == "MemTotal:") return kilobytes * 1024;
  return std::uint64_t{8} << 30;
}

std::string in_mebibytes(std::uint64_t bytes) {
  return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB";
}

/// Everything that was chosen to fit the memory cap.
struct Plan {
  BlockShape shape;
  PassLimits passes;
  std::size_t counts_per_pass = 1;
  std::size_t whole_elements = paretod::whole_elements;
};

/// The longest row that has to lie in memory at once.
std::size_t longest_row(const MergeSources& sources, const MergeRule& rule) {
  if (traits_of(rule.method).sparsifier != Sparsifier::della) return 0;
  std::uint64_t longest = 0;
  for (const MergedTensor& tensor : sources.tensors()) {
    if (tensor.copied) continue;
    longest = std::max(longest, row_elements(tensor.layout.shape, tensor.layout.elements()));
  }
  return longest;
}

Result<Plan> plan_for(const MergeSources& sources, const MergeRule& rule,
                      const MergeLimits& limits) {
  const std::uint64_t cap = limits.memory_bytes > 0 ? limits.memory_bytes : default_merge_memory();
  Plan plan;
  plan.passes.threads = std::max<std::size_t>(limits.threads, 1);
  plan.shape = {sources.source_count(), most_candidates, most_elements};
  const bool histograms = uses_thresholds(traits_of(rule.method));
  plan.counts_per_pass = 2 * most_candidates;
  const std::size_t row = longest_row(sources, rule);
  if (row > 0) {
    plan.shape.elements = std::max(row, std::size_t{most_elements});
  } else if (limits.block_elements > 0) {
    plan.shape.elements = plan.whole_elements = merge_padded(limits.block_elements);
  }
  const bool adjustable = row == 0 && limits.block_elements == 0;
  const auto of_worker = [&] { return BlockMerger::memory(rule, plan.shape); };
  while (adjustable && plan.shape.elements > least_elements && of_worker() > cached_bytes) {
    plan.shape.elements /= 2;
  }
  const auto buffers = [&] {
    std::uint64_t bytes = plan.passes.threads * (of_worker() + 8 * pass_chunk * sizeof(float));
    if (histograms) {
      bytes += largest_elements_memory(plan.passes.threads, plan.counts_per_pass) +
               plan.passes.threads * pass_unit * sizeof(std::uint64_t);
    }
    return bytes;
  };
  while (buffers() + least_window > cap && plan.counts_per_pass > 1 && histograms) {
    plan.counts_per_pass /= 2;
  }
  while (buffers() + least_window > cap && plan.shape.candidates > 1) plan.shape.candidates /= 2;
  if (buffers() + least_window > cap) {
    std::string why;
    if (row > 0) why = "; della ranks rows of up to " + std::to_string(row) + " elements";
    return Error{ErrorKind::exhausted, "a merge of these models by " +
                                           std::string(name_of(rule.method)) + " needs at least " +
                                           in_mebibytes(buffers() + least_window) + " with " +
                                           std::to_string(plan.passes.threads) + " threads" + why +
                                           ", and the memory cap is " + in_mebibytes(cap) +
                                           "; raise it, or take fewer threads"};
  }
  const std::uint64_t left = cap - buffers();
  plan.passes.release = sources.input_bytes() > left;
  plan.passes.window_bytes = std::min(left / 2, largest_window);
  return plan;
}

class CpuMergeEngine final : public MergeEngine {
 public:
  CpuMergeEngine(std::shared_ptr<const MergeSources> sources, const MergeRule& rule,
                 const Plan& plan)
      : sources_(std::move(sources)),
        rule_(rule),
        plan_(plan),
        kernels_(merge_kernels()),
        statistics_(kernels_, rule_, *sources_, plan.passes, plan.counts_per_pass) {}

  [[nodiscard]] std::string name() const override { return std::string("cpu ") + kernels_.name; }
  [[nodiscard]] std::size_t candidates_per_pass() const override { return plan_.shape.candidates; }
  Result<void> merge(std::span<const MergeCandidate> candidates, MergeOutput& output,
                     const MergeProgress& progress) override;

 private:
  /// One pass over the sources.
  struct Pass {
    std::span<const MergeCandidate> candidates;
    std::size_t first = 0;  ///< number of the first one in the call
    MergeOutput* output = nullptr;
    const MergeProgress* progress = nullptr;
    std::uint64_t done = 0;
    std::uint64_t total = 0;
    bool stream = false;
    std::size_t elements = 0;  ///< of a block at most
    bool single = false;       ///< one candidate, merged into memory
    std::atomic<bool> failed{false};
    std::mutex mutex;
    std::optional<Error> error;

    void fail(Error reason) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::move(reason);
      failed = true;
    }
  };
  /// Part of a tensor.
  struct Block {
    std::size_t tensor = 0;
    std::uint64_t begin = 0;
    std::size_t count = 0;
  };

  void make_workers(std::size_t candidates);
  void merge_window(Pass& pass, std::size_t first, std::size_t end);
  void merge_large(Pass& pass, std::size_t tensor);
  void merge_block(Pass& pass, const Block& block, const TensorFactors& factors,
                   std::size_t worker);
  void copy_block(Pass& pass, const Block& block);
  void put(Pass& pass, std::size_t candidate, std::size_t tensor, std::uint64_t offset,
           std::span<const std::byte> bytes);
  bool advance(Pass& pass, std::uint64_t bytes);
  /// Elements of one block.
  [[nodiscard]] std::size_t unit_of(const Pass& pass, const MergedTensor& tensor) const;
  static std::vector<const TensorView*> views_of(const MergedTensor& tensor);

  const std::shared_ptr<const MergeSources> sources_;
  const MergeRule rule_;
  const Plan plan_;
  const MergeKernels& kernels_;
  TensorStatistics statistics_;
  std::vector<std::unique_ptr<BlockMerger>> workers_;
  std::size_t workers_for_ = 0;  ///< candidates that they can take
};

std::vector<const TensorView*> CpuMergeEngine::views_of(const MergedTensor& tensor) {
  if (tensor.copied) return {tensor.original};
  std::vector<const TensorView*> views = tensor.sources;
  views.insert(views.end(), tensor.importance.begin(), tensor.importance.end());
  if (tensor.base != nullptr) views.push_back(tensor.base);
  return views;
}

std::size_t CpuMergeEngine::unit_of(const Pass& pass, const MergedTensor& tensor) const {
  if (tensor.copied) return copied_bytes / size_of(tensor.layout.dtype);
  if (pass.single && BlockMerger::takes_whole(rule_, tensor, 1)) {
    // Enough of them in a window that no thread waits, and never more than a window.
    const std::uint64_t bytes =
        bytes_read(tensor) / std::max<std::uint64_t>(tensor.layout.elements(), 1);
    const std::uint64_t share =
        plan_.passes.window_bytes / (2 * plan_.passes.threads * std::max<std::uint64_t>(bytes, 1));
    return std::min<std::uint64_t>(plan_.whole_elements,
                                   std::max<std::uint64_t>(share / 1024 * 1024, 1024));
  }
  if (traits_of(rule_.method).sparsifier != Sparsifier::della) return pass.elements;
  const std::size_t row = row_elements(tensor.layout.shape, tensor.layout.elements());
  return plan_.shape.elements / row * row;
}

void CpuMergeEngine::make_workers(std::size_t candidates) {
  if (workers_for_ == candidates) return;
  workers_.clear();
  BlockShape shape = plan_.shape;
  shape.candidates = candidates;
  for (std::size_t i = 0; i < plan_.passes.threads; ++i) {
    workers_.push_back(std::make_unique<BlockMerger>(kernels_, rule_, shape));
  }
  workers_for_ = candidates;
}

Result<void> CpuMergeEngine::merge(std::span<const MergeCandidate> candidates, MergeOutput& output,
                                   const MergeProgress& progress) {
  for (std::size_t p = 0; p < candidates.size(); ++p) {
    Problems problems = check_candidate(rule_, sources_->source_count(), candidates[p]);
    if (!problems.empty()) return invalid("the merge is not valid", std::move(problems));
  }
  const std::size_t most = plan_.shape.candidates;
  const std::size_t passes = (candidates.size() + most - 1) / most;
  std::uint64_t done = 0;
  for (std::size_t first = 0; first < candidates.size(); first += most) {
    Pass pass;
    pass.candidates = candidates.subspan(first, std::min(most, candidates.size() - first));
    pass.first = first;
    pass.output = &output;
    pass.progress = &progress;
    pass.done = done;
    pass.total = passes * sources_->input_bytes();
    pass.stream = sources_->output_bytes() * pass.candidates.size() > streamed_bytes;
    make_workers(pass.candidates.size());
    const auto& tensors = sources_->tensors();
    pass.single =
        pass.candidates.size() == 1 && !tensors.empty() && output.memory(first, 0) != nullptr;
    pass.elements =
        pass.single ? std::min(single_elements, plan_.shape.elements) : plan_.shape.elements;
    for (std::size_t i = 0; i < tensors.size() && !pass.failed;) {
      const std::size_t begin = i;
      std::uint64_t bytes = 0;
      while (i < tensors.size() &&
             (i == begin || bytes + bytes_read(tensors[i]) <= plan_.passes.window_bytes)) {
        bytes += bytes_read(tensors[i++]);
      }
      if (bytes > plan_.passes.window_bytes) {
        merge_large(pass, begin);
      } else {
        merge_window(pass, begin, i);
      }
    }
    if (pass.error) return *pass.error;
    done = pass.done;
  }
  return {};
}

bool CpuMergeEngine::advance(Pass& pass, std::uint64_t bytes) {
  pass.done += bytes;
  if (*pass.progress && !(*pass.progress)(pass.done, pass.total)) {
    pass.fail({ErrorKind::conflict, "the merge was cancelled"});
  }
  return !pass.failed;
}

void CpuMergeEngine::merge_window(Pass& pass, std::size_t first, std::size_t end) {
  const std::vector<TensorFactors> factors =
      statistics_.factors(first, end - first, pass.candidates, workers_);
  std::vector<Block> blocks;
  std::uint64_t bytes = 0;
  for (std::size_t t = first; t < end; ++t) {
    const MergedTensor& tensor = sources_->tensors()[t];
    const std::uint64_t size = tensor.layout.elements();
    bytes += bytes_read(tensor);
    if (size == 0) continue;
    const std::size_t unit = unit_of(pass, tensor);
    for (std::uint64_t begin = 0; begin < size; begin += unit) {
      blocks.push_back({t, begin, std::min<std::uint64_t>(unit, size - begin)});
    }
  }
  const std::uint64_t work = bytes * pass.candidates.size();
  parallel_for(team_for(plan_.passes.threads, work), blocks.size(),
               [&](std::size_t i, std::size_t worker) {
                 if (pass.failed) return;
                 merge_block(pass, blocks[i], factors[blocks[i].tensor - first], worker);
               });
  if (plan_.passes.release) {
    for (std::size_t t = first; t < end; ++t) {
      for (const TensorView* view : views_of(sources_->tensors()[t])) release_pages(view->bytes);
    }
  }
  advance(pass, bytes);
}

void CpuMergeEngine::merge_large(Pass& pass, std::size_t t) {
  const MergedTensor& tensor = sources_->tensors()[t];
  const std::vector<TensorFactors> factors = statistics_.factors(t, 1, pass.candidates, workers_);
  const std::uint64_t size = tensor.layout.elements();
  const std::size_t unit = unit_of(pass, tensor);
  const std::uint64_t per_element = bytes_read(tensor) / size;
  const std::vector<const TensorView*> views = views_of(tensor);
  TensorPass(plan_.passes, views, size)
      .run(
          unit,
          [&](std::uint64_t begin, std::size_t count, std::size_t worker) {
            if (!pass.failed) merge_block(pass, {t, begin, count}, factors[0], worker);
          },
          [&](std::uint64_t first, std::uint64_t end) {
            return advance(pass, (std::min(end * unit, size) - first * unit) * per_element);
          });
}

void CpuMergeEngine::merge_block(Pass& pass, const Block& block, const TensorFactors& factors,
                                 std::size_t worker) {
  const MergedTensor& tensor = sources_->tensors()[block.tensor];
  if (tensor.copied) return copy_block(pass, block);
  BlockMerger& merger = *workers_[worker];
  const StoredFloat dtype = stored_float(tensor.layout.dtype);
  const std::size_t size = size_of(tensor.layout.dtype);
  const std::uint64_t offset = block.begin * size;
  if (BlockMerger::takes_whole(rule_, tensor, pass.candidates.size())) {
    std::byte* memory = pass.output->memory(pass.first, block.tensor);
    std::byte* to = memory != nullptr ? memory + offset : merger.narrowed();
    merger.merge_into(to, tensor, factors, block.begin, block.count,
                      memory != nullptr && pass.stream);
    if (memory == nullptr) put(pass, pass.first, block.tensor, offset, {to, block.count * size});
    return;
  }
  if (!merger.merge(tensor, factors, block.begin, block.count)) {
    return pass.fail(invalid("an importance of tensor \"" + tensor.layout.name +
                             "\" is negative or not a number; fisher needs squares"));
  }
  for (std::size_t p = 0; p < pass.candidates.size(); ++p) {
    const std::size_t candidate = pass.first + p;
    if (std::byte* memory = pass.output->memory(candidate, block.tensor)) {
      kernels_.narrow(dtype, merger.merged(p), block.count, memory + offset, pass.stream);
    } else {
      kernels_.narrow(dtype, merger.merged(p), block.count, merger.narrowed(), false);
      put(pass, candidate, block.tensor, offset, {merger.narrowed(), block.count * size});
    }
  }
}

void CpuMergeEngine::copy_block(Pass& pass, const Block& block) {
  const TensorView& original = *sources_->tensors()[block.tensor].original;
  const std::uint64_t offset = block.begin * size_of(original.dtype);
  const auto bytes = original.bytes.subspan(offset, block.count * size_of(original.dtype));
  for (std::size_t p = 0; p < pass.candidates.size(); ++p) {
    const std::size_t candidate = pass.first + p;
    if (std::byte* memory = pass.output->memory(candidate, block.tensor)) {
      std::memcpy(memory + offset, bytes.data(), bytes.size());
    } else {
      put(pass, candidate, block.tensor, offset, bytes);
    }
  }
}

void CpuMergeEngine::put(Pass& pass, std::size_t candidate, std::size_t tensor,
                         std::uint64_t offset, std::span<const std::byte> bytes) {
  auto written = pass.output->write(candidate, tensor, offset, bytes);
  if (!written) pass.fail(written.error());
}

}  // namespace

std::uint64_t default_merge_memory() {
  return std::min(machine_memory() / 4, std::uint64_t{4} << 30);
}

Result<std::unique_ptr<MergeEngine>> cpu_merge_engine(std::shared_ptr<const MergeSources> sources,
                                                      const MergeRule& rule,
                                                      const MergeLimits& limits) {
  const auto plan = plan_for(*sources, rule, limits);
  if (!plan) return plan.error();
  return std::unique_ptr<MergeEngine>(
      std::make_unique<CpuMergeEngine>(std::move(sources), rule, *plan));
}

}  // namespace paretod
