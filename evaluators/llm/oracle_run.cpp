#include "evaluators/llm/oracle_run.hpp"

#include <utility>

#include "adapters/hash/sha256.hpp"
#include "adapters/llm/reply_reader.hpp"

namespace paretod::llm {

using nlohmann::json;

void ask_oracle(Workshop& workshop, const Genome& genome, const std::string& session,
                std::size_t split, const std::string& id, const TrialRun::Say& say) {
  const std::string digest = sha256_hex(
      identity_of(workshop.config, genome, workshop.config.server.sessions[split]).dump());
  Call call;
  call.key = digest;
  call.job = id.substr(0, id.find(':'));
  // The tag names a folder of the service, which two evaluations must not share.
  call.path = "/v1/sessions/" + session + "/evaluate";
  call.body = json{{"alpha", genome.alpha},
                   {"beta", genome.beta},
                   {"tag", workshop.run_name + "-" + std::to_string(++workshop.last_name)}}
                  .dump();
  call.read = [](const JsonNode& reply) -> Result<Completion> {
    ReplyReader reader(reply);
    Completion out;
    out.finish = "stop";
    out.logprobs = {-reader.number(reader.require("/loss"), "/loss")};
    if (reader.failed()) return reader.error();
    return out;
  };
  workshop.caller.call(std::move(call), [id, say](const CallResult& result) {
    if (result.kind != CallResult::Kind::answered) {
      return say({{"type", "error"}, {"id", id}, {"kind", "failed"}, {"message", result.reason}});
    }
    const double loss = -result.completion.logprobs[0];
    say({{"type", "result"},
         {"id", id},
         {"objectives", {{"loss", loss}}},
         {"metrics",
          {{"n_ok", 1},
           {"n_failed", 0},
           {"used.calls", result.from_ledger ? 0 : 1},
           {"used.ledger_hits", result.from_ledger ? 1 : 0},
           {"used.retries", result.retries}}},
         {"cost", {{"tokens", result.cost.tokens}, {"money_micros", result.cost.micros}}}});
  });
}

}  // namespace paretod::llm
