// llm_bench plain|client URL COUNT CONCURRENCY FOLDER
//
// COUNT completions of a llama.cpp-like server, CONCURRENCY at once: by a plain loop over libcurl's
// multi interface that makes the requests and only keeps the replies, or by the evaluator's caller,
// which also reads each reply and has it in its ledger (in FOLDER) before it goes on.  Requests
// come as those of trials do: `examples` prompts for each of a sequence of coefficient vectors, the
// next one's as soon as one is through, `trials` at a time.  Both send the same bytes and wait no
// longer for a reply.  Prints wall time and the processor time of all threads as one line of JSON.

#include <curl/curl.h>
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "adapters/hash/sha256.hpp"
#include "adapters/llm/request_template.hpp"
#include "evaluators/llm/caller.hpp"

namespace {

using namespace paretod;
using namespace paretod::llm;
using nlohmann::json;

std::string prompt_of(std::size_t i) {
  std::string out;
  for (int k = 0; k < 4; ++k, i /= 38) out += "w" + std::to_string(10 + i % 38) + " ";
  return out + "->";
}

constexpr std::size_t examples = 100;
constexpr std::size_t trials = 2;

/// Of all examples of one trial.
RequestTemplate template_of(const Dialect& dialect, std::size_t trial) {
  Prompt prompt;
  prompt.text = text_slot;
  Sampling sampling;
  sampling.max_tokens = 2;
  Selection selection;
  for (std::size_t id = 0; id < 7; ++id) {
    selection.weights.emplace_back(std::to_string(id),
                                   0.001F * static_cast<float>((7919 * trial + 101 * id) % 1500));
  }
  return RequestTemplate(dialect.generate(prompt, sampling, selection, 0));
}

std::size_t keep(char* data, std::size_t size, std::size_t n, void* body) {
  static_cast<std::string*>(body)->append(data, size * n);
  return size * n;
}

/// Handles are used again and again, as such a loop would.
void plain(const std::string& url, std::size_t count, std::size_t concurrency) {
  struct Slot {
    CURL* curl;
    std::string body;
    std::string reply;
  };
  const auto dialect = llama_cpp_dialect();
  std::optional<RequestTemplate> made;
  CURLM* const multi = curl_multi_init();
  curl_slist* const headers = curl_slist_append(nullptr, "Content-Type: application/json");
  std::vector<Slot> slots(concurrency);
  std::size_t next = 0;
  std::size_t done = 0;
  const auto start = [&](Slot& slot) {
    if (next % examples == 0) made.emplace(template_of(*dialect, next / examples));
    slot.body = made->body(prompt_of(next));
    slot.reply.clear();
    curl_easy_setopt(slot.curl, CURLOPT_POSTFIELDS, slot.body.c_str());
    curl_easy_setopt(slot.curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(slot.body.size()));
    ++next;
    curl_multi_add_handle(multi, slot.curl);
  };
  for (Slot& slot : slots) {
    slot.curl = curl_easy_init();
    curl_easy_setopt(slot.curl, CURLOPT_URL, (url + "/completion").c_str());
    curl_easy_setopt(slot.curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(slot.curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(slot.curl, CURLOPT_WRITEDATA, &slot.reply);
    curl_easy_setopt(slot.curl, CURLOPT_PRIVATE, &slot);
    // What the client says and does too: its name, no request that waits for ever, no signals.
    curl_easy_setopt(slot.curl, CURLOPT_USERAGENT, "paretod");
    curl_easy_setopt(slot.curl, CURLOPT_TIMEOUT_MS, 120'000L);
    curl_easy_setopt(slot.curl, CURLOPT_NOSIGNAL, 1L);
    if (next < count) start(slot);
  }
  while (done < count) {
    int running = 0;
    curl_multi_perform(multi, &running);
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
      long status = 0;
      Slot* slot = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &slot);
      if (message->data.result != CURLE_OK || status != 200 || slot->reply.empty()) std::abort();
      curl_multi_remove_handle(multi, slot->curl);
      ++done;
      if (next < count) start(*slot);
    }
    if (done < count) curl_multi_poll(multi, nullptr, 0, 1000, nullptr);
  }
  for (Slot& slot : slots) curl_easy_cleanup(slot.curl);
  curl_multi_cleanup(multi);
  curl_slist_free_all(headers);
}

void client(const std::string& url, std::size_t count, std::size_t concurrency,
            const std::string& folder) {
  const auto dialect = llama_cpp_dialect();
  HttpMulti http({});
  auto ledger = ResponseLedger::open(
      folder, [&http](std::function<void()> action) { http.after(0, std::move(action)); });
  if (!ledger) std::abort();
  CallerOptions options;
  options.url = url;
  options.limits.concurrency = concurrency;
  Caller caller(std::move(options), http, **ledger);
  std::promise<void> finished;
  std::size_t asked = 0;
  std::size_t done = 0;
  std::size_t trial = 0;
  const std::function<void()> start = [&] {
    const RequestTemplate made = template_of(*dialect, trial++);
    auto open = std::make_shared<std::size_t>(std::min(examples, count - asked));
    for (std::size_t left = *open; left > 0; --left) {
      Call call;
      call.job = "bench";
      call.path = made.path();
      call.body = made.body(prompt_of(asked++));
      call.key = sha256_hex(call.path + call.body);
      call.read = [&dialect](const JsonNode& reply) { return dialect->read_generation(reply); };
      caller.call(std::move(call), [&, open](const CallResult& result) {
        if (result.kind != CallResult::Kind::answered || result.from_ledger) std::abort();
        if (++done == count) finished.set_value();
        if (--*open == 0 && asked < count) start();
      });
    }
  };
  http.after(0, [&] {
    for (std::size_t i = 0; i < trials && asked < count; ++i) start();
  });
  finished.get_future().wait();
  ledger->reset();
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

rusage used() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  curl_global_init(CURL_GLOBAL_DEFAULT);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);  // as the evaluator does
  const std::size_t count = std::stoul(argv[3]);
  const std::size_t concurrency = std::stoul(argv[4]);
  const bool is_plain = std::string(argv[1]) == "plain";
  const auto start = std::chrono::steady_clock::now();
  const rusage before = used();
  if (is_plain) {
    plain(argv[2], count, concurrency);
  } else {
    client(argv[2], count, concurrency, argv[5]);
  }
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  const rusage after = used();
  const double user = seconds(after.ru_utime) - seconds(before.ru_utime);
  const double system = seconds(after.ru_stime) - seconds(before.ru_stime);
  std::printf("{\"wall_s\": %.6f, \"user_s\": %.6f, \"system_s\": %.6f, \"cpu_s\": %.6f}\n",
              wall.count(), user, system, user + system);
  return 0;
}
