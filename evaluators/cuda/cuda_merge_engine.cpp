#include "evaluators/cuda/cuda_merge_engine.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "adapters/safetensors/widen.hpp"
#include "evaluators/cuda/merge_plan.hpp"
#include "evaluators/diffusion/parallel.hpp"
#include "evaluators/merge/merge_factors.hpp"

namespace paretod::cuda {
namespace {

/// Of device memory, for every row.
constexpr std::uint64_t row_alignment = 256;
/// Page-locked memory of one chunk on its way.
constexpr std::size_t chunk_bytes = std::size_t{16} << 20;
/// Threads that fill chunks, and the elements that are worth one's while.
constexpr std::size_t copying_threads = 4;
constexpr std::size_t least_share = std::size_t{1} << 19;

std::uint64_t padded(std::uint64_t bytes) {
  return (bytes + row_alignment - 1) / row_alignment * row_alignment;
}

std::string in_mebibytes(std::uint64_t bytes) {
  return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB";
}

Stored stored_as(DType dtype) {
  return dtype == DType::f16 ? Stored::f16 : dtype == DType::bf16 ? Stored::bf16 : Stored::f32;
}

/// How a tensor's sources, or importances, are kept: as they are where they are alike.
Stored common_type(const std::vector<const TensorView*>& views) {
  if (views.empty()) return Stored::f32;
  const DType first = views.front()->dtype;
  const bool alike = std::all_of(views.begin(), views.end(),
                                 [first](const TensorView* view) { return view->dtype == first; });
  return alike ? stored_as(first) : Stored::f32;
}

/// `count` numbers from `from` on, as `type`.
void convert_some(const TensorView& view, std::uint64_t from, std::size_t count, Stored type,
                  std::byte* to) {
  const std::byte* bytes = view.bytes.data() + from * size_of(view.dtype);
  auto* floats = reinterpret_cast<float*>(to);
  switch (view.dtype) {
    case DType::f16:
      if (type == Stored::f32) return widen_f16(bytes, count, floats);
      break;
    case DType::bf16:
      if (type == Stored::f32) return widen_bf16(bytes, count, floats);
      break;
    case DType::f64:
      for (std::size_t i = 0; i < count; ++i) {
        double value;
        std::memcpy(&value, bytes + i * sizeof value, sizeof value);
        floats[i] = static_cast<float>(value);
      }
      return;
    default:
      break;
  }
  std::memcpy(to, bytes, count * size_of(type));
}

/// The same by several threads: one alone fills a chunk more slowly than a card takes it.
void convert(const TensorView& view, std::uint64_t from, std::size_t count, Stored type,
             std::byte* to) {
  const std::size_t parts = (count + least_share - 1) / least_share;
  parallel_for(copying_threads, parts, [&](std::size_t part, std::size_t) {
    const std::size_t first = part * least_share;
    convert_some(view, from + first, std::min(least_share, count - first), type,
                 to + first * size_of(type));
  });
}

/// Elements of one tensor that are merged together.
struct Piece {
  std::size_t tensor = 0;
  std::uint64_t begin = 0;
  std::uint64_t count = 0;
};

/// What is on the device at a time.
struct Window {
  std::vector<Piece> pieces;
  std::uint64_t bytes = 0;  ///< read from the files
};

/// Device bytes of a piece with the outputs of so many candidates.
std::uint64_t piece_bytes(const MergedTensor& tensor, std::uint64_t count, std::size_t candidates) {
  const std::uint64_t base =
      tensor.base == nullptr ? 0 : padded(count * size_of(stored_as(tensor.base->dtype)));
  const auto rows = [&](const std::vector<const TensorView*>& views) {
    return views.size() * padded(count * size_of(common_type(views)));
  };
  return base + rows(tensor.sources) + rows(tensor.importance) +
         candidates * padded(count * size_of(stored_as(tensor.layout.dtype)));
}

std::uint64_t bytes_read(const MergedTensor& tensor, std::uint64_t count) {
  std::uint64_t bytes = tensor.base == nullptr ? 0 : count * size_of(tensor.base->dtype);
  for (const auto* views : {&tensor.sources, &tensor.importance}) {
    for (const TensorView* view : *views) bytes += count * size_of(view->dtype);
  }
  return bytes;
}

/// The tensors in pieces, in windows of at most `room` bytes; empty when one does not fit.
std::optional<std::vector<Window>> windows_of(const std::vector<MergedTensor>& tensors,
                                              bool in_parts, std::size_t candidates,
                                              std::uint64_t room, Error& why) {
  std::vector<Window> windows(1);
  std::uint64_t used = 0;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const MergedTensor& tensor = tensors[t];
    const std::uint64_t elements = tensor.layout.elements();
    if (tensor.copied || elements == 0) continue;
    for (std::uint64_t begin = 0; begin < elements;) {
      std::uint64_t count = elements - begin;
      if (in_parts && piece_bytes(tensor, count, candidates) > room) {
        // Halves, until one fits; whole tiles, so that masks line up.
        while (count > tile_elements && piece_bytes(tensor, count, candidates) > room) {
          count = (count / 2 + tile_elements - 1) / tile_elements * tile_elements;
        }
      }
      const std::uint64_t bytes = piece_bytes(tensor, count, candidates);
      if (bytes > room) {
        why = Error{ErrorKind::exhausted,
                    "tensor \"" + tensor.layout.name + "\" needs " + in_mebibytes(bytes) +
                        " of device memory at a time, and there are " + in_mebibytes(room) +
                        "; raise the cap, or merge on the processor",
                    {}};
        return std::nullopt;
      }
      if (used + bytes > room) {
        windows.emplace_back();
        used = 0;
      }
      windows.back().pieces.push_back({t, begin, count});
      windows.back().bytes += bytes_read(tensor, count);
      used += bytes;
      begin += count;
    }
  }
  return windows;
}

/// Page-locked chunks that take turns.
class Staging {
 public:
  /// The chunk whose last copy is done; the next copy is to be followed by sent().
  std::byte* next() {
    current_ = 1 - current_;
    Chunk& chunk = chunks_[current_];
    chunk.memory.reserve(chunk_bytes);
    if (chunk.busy) chunk.done.synchronize();
    chunk.busy = false;
    return chunk.memory.data();
  }
  void sent(cudaStream_t stream) {
    chunks_[current_].done.record(stream);
    chunks_[current_].busy = true;
  }
  /// For the copy before the last one.
  void wait_for_other() {
    Chunk& chunk = chunks_[1 - current_];
    if (chunk.busy) chunk.done.synchronize();
    chunk.busy = false;
  }

 private:
  struct Chunk {
    PinnedBuffer<std::byte> memory;
    Event done;
    bool busy = false;
  };
  std::array<Chunk, 2> chunks_;
  std::size_t current_ = 0;
};

/// A part of the device's memory, and the window that is in it.
struct Slot {
  DeviceBuffer<std::byte> memory;
  Stream stream;
  MergePlan* plan = nullptr;        ///< of the window, once it is here
  std::vector<PlanTensor> tensors;  ///< of the window's pieces
  Window window;
  std::size_t number = 0;  ///< of the window
};

class CudaMergeEngine final : public MergeEngine {
 public:
  CudaMergeEngine(std::shared_ptr<const MergeSources> sources, const MergeRule& rule,
                  std::vector<Window> windows, std::size_t candidates, std::size_t usual,
                  std::uint64_t slot_bytes, std::string name, int device)
      : sources_(std::move(sources)),
        rule_(rule),
        windows_(std::move(windows)),
        candidates_(candidates),
        usual_(usual),
        name_(std::move(name)),
        device_(device),
        slots_(windows_.size() > 1 ? 2 : 1),
        plans_(windows_.size()) {
    for (Slot& slot : slots_) slot.memory = DeviceBuffer<std::byte>(slot_bytes);
  }

  [[nodiscard]] std::string name() const override { return name_; }
  [[nodiscard]] std::size_t candidates_per_pass() const override { return candidates_; }
  /// What was asked for, not what fits a pass: processes of different cards have to offer the same,
  /// and so does one that starts again while others use the card's memory.
  [[nodiscard]] std::size_t usual_batch() const override { return usual_; }

  Result<void> merge(std::span<const MergeCandidate> candidates, MergeOutput& output,
                     const MergeProgress& progress) override {
    check(cudaSetDevice(device_), "choosing the device");
    for (const MergeCandidate& candidate : candidates) {
      Problems problems = check_candidate(rule_, sources_->source_count(), candidate);
      if (!problems.empty()) return invalid("the merge is not valid", std::move(problems));
    }
    const std::size_t passes = (candidates.size() + candidates_ - 1) / candidates_;
    std::uint64_t all = 0;
    for (const Window& window : windows_) all += window.bytes;
    Pass pass{{}, 0, output, progress, 0, passes * all};
    for (std::size_t first = 0; first < candidates.size(); first += candidates_) {
      pass.candidates = candidates.subspan(first, std::min(candidates_, candidates.size() - first));
      pass.first = first;
      if (auto done = run(pass); !done) return done;
    }
    return {};
  }

 private:
  struct Pass {
    std::span<const MergeCandidate> candidates;
    std::size_t first;
    MergeOutput& output;
    const MergeProgress& progress;
    std::uint64_t done;
    std::uint64_t total;
  };

  Result<void> run(Pass& pass) {
    handed_ = {};  // of a merge that was given up
    if (auto copied = copy_others(pass); !copied) return copied;
    Slot* waiting = nullptr;
    for (std::size_t w = 0; w < windows_.size(); ++w) {
      Slot& slot = slots_[w % slots_.size()];
      if (windows_.size() > 1 || slot.plan == nullptr) {
        if (auto loaded = load(slot, w); !loaded) return loaded;
      }
      if (auto merged = slot.plan->run(pass.candidates, slot.stream.get()); !merged) return merged;
      if (waiting != nullptr) {
        if (auto fetched = fetch(*waiting, pass); !fetched) return fetched;
      }
      waiting = &slot;
    }
    return waiting == nullptr ? Result<void>() : fetch(*waiting, pass);
  }

  /// Puts a window's sources into the slot, whose results have been fetched.
  Result<void> load(Slot& slot, std::size_t w) {
    const Window& window = windows_[w];
    // A window is always laid out alike, so that its plan holds for every pass, and freeing one
    // would hold up the device.  Only the scratch memory of thresholds is too much to be kept.
    if (slot.plan != nullptr && uses_thresholds(traits_of(rule_.method))) {
      plans_[slot.number].reset();
    }
    slot.plan = nullptr;
    slot.number = w;
    slot.window = window;
    slot.tensors.clear();
    std::byte* at = slot.memory.data();
    const auto take = [&at](std::uint64_t bytes) {
      std::byte* row = at;
      at += padded(bytes);
      return row;
    };
    for (const Piece& piece : window.pieces) {
      const MergedTensor& tensor = sources_->tensors()[piece.tensor];
      PlanTensor planned;
      planned.elements = piece.count;
      planned.first_element = piece.begin;
      planned.group = tensor.group;
      planned.name_hash = tensor_name_hash(tensor.layout.name);
      planned.source_type = common_type(tensor.sources);
      planned.importance_type = common_type(tensor.importance);
      planned.output_type = stored_as(tensor.layout.dtype);
      const auto put = [&](const TensorView& view, Stored type) {
        std::byte* row = take(piece.count * size_of(type));
        send(view, piece, type, row, slot.stream.get());
        return row;
      };
      // Beside the methods that have one, a base only says what the output looks like.
      if (traits_of(rule_.method).uses_base) {
        planned.base_type = stored_as(tensor.base->dtype);
        planned.base = put(*tensor.base, planned.base_type);
      }
      for (const TensorView* source : tensor.sources) {
        planned.sources.push_back(put(*source, planned.source_type));
      }
      for (const TensorView* row : tensor.importance) {
        planned.importances.push_back(put(*row, planned.importance_type));
      }
      for (std::size_t p = 0; p < candidates_; ++p) {
        planned.outputs.push_back(take(piece.count * size_of(planned.output_type)));
      }
      slot.tensors.push_back(std::move(planned));
    }
    if (!plans_[w]) {
      auto plan =
          MergePlan::make(rule_, sources_->source_count(), candidates_, slot.tensors, options());
      if (!plan) return plan.error();
      plans_[w].emplace(std::move(*plan));
    }
    slot.plan = &*plans_[w];
    return {};
  }

  static PlanOptions options() {
    PlanOptions plain;
    plain.path = CombinePath::ordinary;
    return plain;
  }

  void send(const TensorView& view, const Piece& piece, Stored type, std::byte* row,
            cudaStream_t stream) {
    const std::uint64_t most = chunk_bytes / sizeof(float);
    for (std::uint64_t done = 0; done < piece.count; done += most) {
      const auto count = static_cast<std::size_t>(std::min(most, piece.count - done));
      std::byte* chunk = sending_.next();
      convert(view, piece.begin + done, count, type, chunk);
      upload(chunk, count * size_of(type), row + done * size_of(type), stream);
      sending_.sent(stream);
    }
  }

  Result<void> fetch(Slot& slot, Pass& pass) {
    for (std::size_t i = 0; i < slot.tensors.size(); ++i) {
      const PlanTensor& planned = slot.tensors[i];
      const Piece& piece = slot.window.pieces[i];
      const std::size_t size = size_of(planned.output_type);
      for (std::size_t p = 0; p < pass.candidates.size(); ++p) {
        const auto* row = static_cast<const std::byte*>(planned.outputs[p]);
        const std::uint64_t bytes = piece.count * size;
        for (std::uint64_t done = 0; done < bytes; done += chunk_bytes) {
          const auto count =
              static_cast<std::size_t>(std::min<std::uint64_t>(chunk_bytes, bytes - done));
          std::byte* chunk = fetching_.next();
          download(row + done, count, chunk, slot.stream.get());
          fetching_.sent(slot.stream.get());
          // The chunk before is handed on while this one is on its way.
          if (auto put = hand_on(pass); !put) return put;
          handed_ = {pass.first + p, piece.tensor, piece.begin * size + done, {chunk, count}};
        }
      }
    }
    slot.stream.synchronize();
    if (auto put = hand_on(pass); !put) return put;
    if (const auto wrong = slot.plan->wrong_importances(slot.stream.get()); !wrong.empty()) {
      const MergedTensor& tensor = sources_->tensors()[slot.window.pieces[wrong[0]].tensor];
      return invalid("an importance of tensor \"" + tensor.layout.name +
                     "\" is negative or not a number; fisher needs squares");
    }
    pass.done += slot.window.bytes;
    if (pass.progress && !pass.progress(pass.done, pass.total)) {
      return Error{ErrorKind::conflict, "the merge was cancelled", {}};
    }
    return {};
  }

  /// A chunk that has arrived or is about to.
  struct Fetched {
    std::size_t candidate = 0;
    std::size_t tensor = 0;
    std::uint64_t offset = 0;
    std::span<const std::byte> bytes;
  };
  Result<void> hand_on(Pass& pass) {
    const Fetched fetched = std::exchange(handed_, {});
    if (fetched.bytes.empty()) return {};
    fetching_.wait_for_other();
    return put(pass, fetched.candidate, fetched.tensor, fetched.offset, fetched.bytes);
  }

  static Result<void> put(Pass& pass, std::size_t candidate, std::size_t tensor,
                          std::uint64_t offset, std::span<const std::byte> bytes) {
    if (std::byte* memory = pass.output.memory(candidate, tensor)) {
      std::memcpy(memory + offset, bytes.data(), bytes.size());
      return {};
    }
    return pass.output.write(candidate, tensor, offset, bytes);
  }

  /// Tensors that are not numbers to be merged.
  Result<void> copy_others(Pass& pass) const {
    for (std::size_t t = 0; t < sources_->tensors().size(); ++t) {
      const MergedTensor& tensor = sources_->tensors()[t];
      if (!tensor.copied || tensor.original->bytes.empty()) continue;
      for (std::size_t p = 0; p < pass.candidates.size(); ++p) {
        if (auto done = put(pass, pass.first + p, t, 0, tensor.original->bytes); !done) return done;
      }
    }
    return {};
  }

  const std::shared_ptr<const MergeSources> sources_;
  const MergeRule rule_;
  const std::vector<Window> windows_;
  const std::size_t candidates_;
  const std::size_t usual_;
  const std::string name_;
  const int device_;
  std::vector<Slot> slots_;
  std::vector<std::optional<MergePlan>> plans_;  ///< of each window
  Staging sending_;
  Staging fetching_;
  Fetched handed_;
};

}  // namespace

Result<std::unique_ptr<MergeEngine>> cuda_merge_engine(std::shared_ptr<const MergeSources> sources,
                                                       const MergeRule& rule,
                                                       const CudaMergeLimits& limits) {
  if (auto error = unsupported(rule)) return *error;
  check(cudaSetDevice(limits.device), "choosing the device");
  std::uint64_t room = limits.memory_bytes;
  if (room == 0) {
    std::size_t free = 0;
    std::size_t total = 0;
    check(cudaMemGetInfo(&free, &total), "asking for free memory");
    room = free - free / 10;
    room -= std::min<std::uint64_t>(room / 2, merge_reserved_bytes);
  }
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, limits.device), "asking for the device's properties");
  const std::string name = "cuda " + std::string(properties.name);

  const auto& tensors = sources->tensors();
  const auto whole = [&](std::size_t candidates) {
    std::uint64_t bytes = 0;
    for (const MergedTensor& tensor : tensors) {
      if (!tensor.copied) bytes += piece_bytes(tensor, tensor.layout.elements(), candidates);
    }
    return bytes;
  };
  // Resident, with as many candidates a pass as then fit; else streamed through two halves.
  std::size_t candidates = std::max<std::size_t>(limits.candidates, 1);
  while (candidates > 1 && whole(candidates) > room && whole(1) <= room) candidates /= 2;
  const bool resident = whole(candidates) <= room;
  const std::uint64_t slot_bytes = resident ? whole(candidates) : room / 2;
  Error why;
  auto windows = windows_of(tensors, merges_parts(rule), candidates, slot_bytes, why);
  while (!windows && candidates > 1) {
    candidates /= 2;
    windows = windows_of(tensors, merges_parts(rule), candidates, slot_bytes, why);
  }
  if (!windows) return why;
  return std::unique_ptr<MergeEngine>(new CudaMergeEngine(
      std::move(sources), rule, std::move(*windows), candidates,
      std::max<std::size_t>(limits.candidates, 1), slot_bytes, name, limits.device));
}

}  // namespace paretod::cuda
